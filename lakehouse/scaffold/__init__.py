"""What stands at the beginning: a project of one's own (`new`), and tables proposed from a source's data (`add`).

A source is looked at (`postgres.py`, `files.py`), a bounded sample of each table is profiled (`profile.py`), a contract
is proposed (`proposal.py`) and written beside a staging model (`write.py`), the connection goes into the project's
settings (`connection.py`). What is written is the team's from then on: nothing is overwritten.
"""
