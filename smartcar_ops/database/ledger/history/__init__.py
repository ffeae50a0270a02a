"""What each day's audit left: the snapshots of the days, and every user's bucket as intervals of days."""
