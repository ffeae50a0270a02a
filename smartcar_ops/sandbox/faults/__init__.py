"""What goes wrong on purpose: named faults, the switches they set, the interceptors they add."""
