"""Expand and contract the company's tables (notebook 40)."""
