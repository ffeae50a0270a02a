"""The users, the cars and their states, drawn from a seed."""
