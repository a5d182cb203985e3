"""The table `things` of the source `shop` in contracts, and what is read of it."""

from __future__ import annotations

from lakehouse.sources import Extract

THINGS = {"id": "long", "name": "string", "updated_at": "timestamptz"}
BY_TIME = {"table": "public.things", "watermark": "updated_at"}
# An hour ahead: what is written now lies below the bound already, unless a transaction in flight holds it back.
AHEAD = {**BY_TIME, "clock": "clock_timestamp() + interval '1 hour'"}


def rows_of(extract: Extract | None) -> list[dict[str, object]]:
    assert extract is not None
    return [row for chunk in extract.chunks if chunk.rows.num_columns for row in chunk.rows.to_pylist()]


def ids_of(extract: Extract | None) -> list[object]:
    return sorted(row["id"] for row in rows_of(extract))  # type: ignore[type-var]  # ids are numbers
