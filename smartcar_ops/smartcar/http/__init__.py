"""Requests to Smartcar: limits, retries, the record of calls."""
