"""Who and what there is: users, cars and their states, drawn by a seed."""
