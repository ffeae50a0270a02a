"""Run a notebook from outside, and write its run folder and report page."""
