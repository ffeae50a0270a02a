"""Smartcar's endpoints as the sandbox plays them, and what they share: state, connections, envelopes."""
