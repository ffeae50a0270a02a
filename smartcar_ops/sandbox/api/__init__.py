"""Smartcar's endpoints in the sandbox, and what they share: state, connections and response envelopes."""
