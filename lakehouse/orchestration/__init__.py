"""Dagster, and only Dagster: tables as assets, rules as checks, schedules and sensors, runs started from the CLI.

Each module turns values of the core into Dagster's. What a load, a model or a commit does belongs below, not here.
Modules import the core's heavy parts (PyIceberg, DuckDB, ADBC) where a run needs them: definitions are loaded often.
"""
