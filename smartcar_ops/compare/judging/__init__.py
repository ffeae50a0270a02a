"""One verdict per field of a vehicle: what counts as the same, and the gate per make and powertrain."""
