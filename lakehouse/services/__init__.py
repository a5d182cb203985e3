"""Servers that a project runs for itself: PostgreSQL, small HTTP services, and those of others (`servers/`).

What belongs here: starting, finding, checking and stopping them, and turning `embedded://` addresses into real ones.
What does not: what they serve (`demo/`), and how rows are read from them (`sources/`).
"""
