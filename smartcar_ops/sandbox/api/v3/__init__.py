"""V3's vehicle endpoints: signals and commands."""
