"""How far the migration has progressed (notebook 90)."""
