"""Plan, apply, pause, resume and undo the ids (notebook 30)."""
