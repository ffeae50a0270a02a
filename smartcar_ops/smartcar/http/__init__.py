"""Requests to Smartcar: limits, retries and the record of calls."""
