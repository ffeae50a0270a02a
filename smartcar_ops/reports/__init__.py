"""Running a notebook from outside, and the folder and page that a run leaves."""
