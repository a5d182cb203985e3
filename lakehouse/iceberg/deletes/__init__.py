"""Delete files: which rows of data files they hide, and writing new ones."""
