"""Arrival: where it acts, how far each step is, and whether everything is set up."""
