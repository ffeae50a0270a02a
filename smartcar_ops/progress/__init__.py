"""Where the migration stands (notebook 90)."""
