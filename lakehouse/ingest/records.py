"""What the quarantine keeps of rows that broke checks and of records that did not parse: one record for each.

Which rows these are is `door.py`'s decision; the columns of a record are `quarantine.py`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.ingest.checks import Plan
from lakehouse.ingest.quarantine import QUARANTINE_SCHEMA, Record, State, kept, reject_id
from lakehouse.sources import Chunk
from lakehouse.tables import Table
from lakehouse.tables.sql import literal, quote

UNPARSED = "record_parses"
"""The rule that a record broke which did not parse."""
_JSON = json.JSONEncoder(ensure_ascii=False)


def records_table(table: Table, records: Iterable[Record], extracted_at: datetime, run_key: str) -> pa.Table:
    """Records of one load in the schema of quarantine tables."""
    same = {
        "table_name": str(table.name),
        "run_key": run_key,
        "extracted_at": extracted_at,
        "state": State.HELD.value,
    }
    return pa.Table.from_pylist([{**record, **same} for record in records], schema=QUARANTINE_SCHEMA)


def unparsed(chunk: Chunk) -> Iterator[Record]:
    """What did not even parse."""
    for record in chunk.broken:
        yield {
            "reject_id": reject_id(record.source, record.payload),
            **kept(record.payload, record.size),
            "broken_rules": json.dumps([UNPARSED]),
            "source": record.source,
            "error": record.error,
        }


def broken(
    connection: duckdb.DuckDBPyConnection, chunk: Chunk, bad: pa.ChunkedArray, typed: pa.Table, plan: Plan
) -> Iterator[Record]:
    """The rows of a chunk that are `bad`, with every check that each of them broke.

    `typed` are these rows as the plan's checks have them. Raises duckdb.Error.
    """
    raw = chunk.rows.filter(bad)
    try:
        connection.register("broken", typed)
        cases = ", ".join(f"CASE WHEN {check.broken} THEN {place} END" for place, check in enumerate(plan.checks))
        found = connection.execute(f"SELECT [{cases}], {_parsed(plan.columns)} FROM broken").fetchall()
    finally:
        connection.unregister("broken")
    # Of a row whose own text is kept, only the values at fault are told.
    at_fault = {check.column for check in plan.checks}
    texts = _as_texts(connection, raw, [name for name in raw.column_names if chunk.payload is None or name in at_fault])
    payloads = [None] * len(raw) if chunk.payload is None else chunk.payload.filter(bad).to_pylist()
    places = pc.indices_nonzero(bad).to_pylist()
    said = dict[tuple[int, ...], Mapping[str, str]]()
    for place, given, row, (numbers, parsed) in zip(places, payloads, texts, found, strict=True):
        failed = tuple(number for number in numbers if number is not None)
        what = [plan.checks[number] for number in failed]
        if failed not in said:
            names, errors = [check.name for check in what], "; ".join(check.error for check in what)
            said[failed] = {"broken_rules": json.dumps(names), "error": errors}
        payload = (_object(row | _texts(chunk, place)) if given is None else str(given)).encode()
        source = chunk.coordinate(place)
        yield {
            "reject_id": reject_id(source, payload),
            **kept(payload),
            **said[failed],
            "found": _object({check.column: row.get(check.column) for check in what if check.column}, keep=True),
            "parsed": parsed,
            "source": source,
        }


def _parsed(names: Iterable[str]) -> str:
    """SQL for one JSON object of the values that have their column's type, as texts."""
    values = (f"{literal(_JSON.encode(name) + ': ')} || to_json({quote(name)}::VARCHAR)" for name in sorted(names))
    return "'{' || concat_ws(', ', " + ", ".join(values) + ") || '}'"


def _as_texts(
    connection: duckdb.DuckDBPyConnection, rows: pa.Table, names: Sequence[str]
) -> list[dict[str, str | None]]:
    """The values of some columns as texts, by row."""
    if not names:
        return [{} for _ in range(len(rows))]
    rows = rows.select(names)
    if any(kind != pa.string() for kind in rows.schema.types):
        casts = ", ".join(f"{quote(name)}::VARCHAR AS {quote(name)}" for name in names)
        connection.register("as_given", rows)
        rows = connection.execute(f"SELECT {casts} FROM as_given").to_arrow_table()
        connection.unregister("as_given")
    texts: list[dict[str, str | None]] = rows.to_pylist()
    return texts


def _object(row: Mapping[str, str | None], *, keep: bool = False) -> str:
    """JSON text. Without NULLs, unless `keep`: which other columns a chunk has must not change a record's identity."""
    return _JSON.encode({name: row[name] for name in sorted(row) if keep or row[name] is not None})


def _texts(chunk: Chunk, place: int) -> dict[str, str | None]:
    """What a row's `extra` says, as texts: once the contract names it, it is read from the record's payload."""
    text = None if chunk.extra is None else chunk.extra[place].as_py()
    given: dict[str, object] = {} if text is None else json.loads(text, parse_int=str, parse_float=str)
    return {
        name: value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in given.items()
    }
