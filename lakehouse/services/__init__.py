"""Servers that a project runs for itself: the embedded PostgreSQL and small HTTP services.

What belongs here: starting, finding, checking and stopping them, and turning `embedded://` addresses into real ones.
What does not: what they serve (`demo/`), and how rows are read from them (`sources/`).
"""
