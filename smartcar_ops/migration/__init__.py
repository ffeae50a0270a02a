"""Decides: what to ask, which bucket, which change, which verdict; on data from the two rooms below."""
