"""Which metadata file is a table's current one, and the compare-and-swap that changes it; how files are reached.

What a commit holds is `commits/`.
"""
