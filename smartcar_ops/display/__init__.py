"""Pictures, tables and widgets that several acts show."""
