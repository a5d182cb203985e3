"""Snapshot expiry: which snapshots and refs go, in one commit, and then the files that nothing names any more.

Files that no snapshot ever named are `orphans.py`; when expiry runs is upkeep's.
"""
