"""Runs begin at once: their processes are forked from one that has imported all that a run needs.

`lakehouse ui` starts that process beside Dagster (`start.py`, `server.py`); Dagster asks it for a process through a run
launcher of ours (`launcher.py`, `client.py`), and what that process does is Dagster's own (`work.py`). Where there is
none, runs begin as Dagster's default launcher begins them, some seconds later.
"""
