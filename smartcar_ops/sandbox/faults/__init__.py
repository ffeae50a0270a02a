"""What goes wrong on purpose: the named faults, the switches they set, and the interceptors they add."""
