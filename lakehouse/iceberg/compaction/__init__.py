"""Compaction: the same rows in fewer files, proved before any commit.

Which files belong together is decided elsewhere; `compacting.py` is the door. Groups of files are `groups.py`, how
their rows are read `reads/sources.py`, how they are written anew `encoders.py`, the proof `fingerprint.py`, what is
committed and what is left behind when other writers were faster `land.py`, the order of all that `run.py`.
"""
