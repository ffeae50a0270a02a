"""Pictures, tables and widgets that several notebooks show."""
