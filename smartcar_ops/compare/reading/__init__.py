"""Read a fleet on both versions, in this process or in others, and replay recordings."""
