"""Connect, authorization codes and the two token endpoints."""
