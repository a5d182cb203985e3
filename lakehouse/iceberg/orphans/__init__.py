"""Files in a table's folders that nothing names: which they are, and how they go.

Files that a snapshot did name, and that go with it, are `expiry/`; when a file has been nobody's for long enough is
upkeep's to decide.
"""
