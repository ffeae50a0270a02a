"""Reading a fleet on both versions, here or in other processes, and replaying what was read."""
