"""The steps, one file each, in numerical order."""
