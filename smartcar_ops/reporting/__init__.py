"""Shows: pictures, pages, panels, run folders."""
