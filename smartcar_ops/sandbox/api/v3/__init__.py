"""V3 per vehicle: signals and commands."""
