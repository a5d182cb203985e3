"""Which days of a daily table are out of date: how far it has followed each table that it reads.

That is progress in the snapshots of the table itself, so it survives whatever happens to those who ask. Who asks for
the days belongs in `orchestration/`, who computes them in `transform/`.
"""
