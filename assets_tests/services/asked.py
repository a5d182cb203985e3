"""A server of PostgreSQL asked for one value."""

from __future__ import annotations

import psycopg


def one(uri: str, query: str) -> object:
    with psycopg.connect(uri) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]
