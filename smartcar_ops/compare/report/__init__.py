"""The comparison as tables, charts and panels."""
