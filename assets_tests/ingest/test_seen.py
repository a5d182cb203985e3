"""What bronze has already, by values of every type, and what the source no longer has."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lakehouse.iceberg import Lake
from lakehouse.ingest import Door
from lakehouse.ingest.seen import comparing
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Compare
from lakehouse.tables import Table

MakeTable = Callable[..., Table]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TYPES = {
    "key": "uuid",
    "day": "date",
    "clock": "time",
    "naive": "timestamp",
    "at": "timestamptz",
    "flag": "boolean",
    "small": "int",
    "price": "decimal(20, 3)",
    "ratio": "double",
    "text": "string",
    "raw": "binary",
}
KEYS = [str(uuid.UUID(int=number)) for number in range(3)]
ROW: dict[str, object] = {
    "key": KEYS[0],
    "day": "2026-01-31",
    "clock": "23:59:59.5",
    "naive": "2026-01-31 10:00:00",
    "at": "2026-01-31T10:00:00+02:00",
    "flag": "true",
    "small": "-7",
    "price": "12345678901234567.125",
    "ratio": "0.1",
    "text": "a:b|c",
    "raw": b"\x00\xff\\",
}
OTHER: dict[str, object] = {
    "key": KEYS[1],
    "day": "2026-02-01",
    "clock": "23:59:59.500001",
    "naive": "2026-01-31 10:00:00.000001",
    "at": "2026-01-31T10:00:00+01:00",
    "flag": "false",
    "small": "7",
    "price": "12345678901234567.124",
    "ratio": "0.10000000000000002",
    "text": "a:b|c ",
    "raw": b"\x00\xff",
}


@pytest.fixture
def table(make_table: MakeTable) -> Table:
    return make_table(TYPES, required=["key"], key=["key"], options={"files": "*.jsonl", "watermark": "full"})


def chunk(*rows: Mapping[str, object]) -> Chunk:
    kinds = {name: pa.binary() if name == "raw" else pa.string() for name in TYPES}
    return Chunk(pa.Table.from_pylist(list(rows), schema=pa.schema(kinds)), "test")


def fill(lake: Lake, table: Table, *rows: Mapping[str, object], at: datetime = NOW) -> None:
    with Door(table) as door:
        accepted = door.split(chunk(*rows), at, "k").accepted
    assert accepted.num_rows == len(rows)
    lake.create(table).append(accepted.to_reader(), run_key=at.isoformat())


def compared(
    lake: Lake, table: Table, compare: Compare, settings: Settings, *rows: Mapping[str, object]
) -> tuple[list[str], list[dict[str, object]]]:
    """The keys of the rows that are fresh, and the rows that say what is gone."""
    target = lake.create(table)
    with Door(table) as door, comparing(settings, table, target, compare) as seen:
        assert seen is not None
        given = chunk(*rows)
        seen.keep_keys(given)
        parts = seen.fresh(iter([door.split(given, NOW, "k").accepted]))
        fresh = [str(row["key"]) for part in parts for row in part.to_pylist()]
        gone = [row for part in seen.deleted(NOW + timedelta(days=9), "gone") for row in part.to_pylist()]
    assert list((settings.state / "tmp").iterdir()) == []
    return fresh, gone


BY_CONTENT = Compare(("key",), latest=True)


@pytest.mark.parametrize("column", [name for name in TYPES if name != "key"])
def test_a_row_is_known_by_all_its_values(lake: Lake, table: Table, settings: Settings, column: str) -> None:
    empty = {**dict.fromkeys(TYPES), "key": KEYS[2]}
    fill(lake, table, ROW, empty)
    assert compared(lake, table, BY_CONTENT, settings, ROW, empty)[0] == []
    assert compared(lake, table, BY_CONTENT, settings, {**ROW, column: OTHER[column]}, empty)[0] == [KEYS[0]]
    assert compared(lake, table, BY_CONTENT, settings, {**ROW, column: None}, empty)[0] == [KEYS[0]]
    assert compared(lake, table, BY_CONTENT, settings, ROW, {**empty, column: ROW[column]})[0] == [KEYS[2]]


def test_another_key_is_another_row(lake: Lake, table: Table, settings: Settings) -> None:
    fill(lake, table, ROW)
    assert compared(lake, table, BY_CONTENT, settings, ROW, {**ROW, "key": KEYS[1]})[0] == [KEYS[1]]


def test_only_the_newest_row_counts_where_that_is_asked_for(lake: Lake, table: Table, settings: Settings) -> None:
    fill(lake, table, ROW)
    fill(lake, table, {**ROW, "text": "later"}, at=NOW + timedelta(days=1))
    assert compared(lake, table, BY_CONTENT, settings, ROW)[0] == [KEYS[0]]
    assert compared(lake, table, Compare(("key",)), settings, ROW)[0] == []
    narrowed = Compare(("key",), where=f"_extracted_at > '{NOW.isoformat()}'")
    assert compared(lake, table, narrowed, settings, ROW)[0] == [KEYS[0]]


def test_what_is_gone_is_told_with_the_values_that_it_had_last(lake: Lake, table: Table, settings: Settings) -> None:
    fill(lake, table, ROW, {**ROW, "key": KEYS[1]})
    fill(lake, table, {**ROW, "text": "later"}, at=NOW + timedelta(days=1))
    whole = Compare(("key",), latest=True, deletions=True)
    _, (gone,) = compared(lake, table, whole, settings, {**ROW, "key": KEYS[1]})
    assert (str(gone["key"]), gone["text"], gone["raw"]) == (KEYS[0], "later", ROW["raw"])
    assert (gone["_deleted"], gone["_run_key"], gone["_extracted_at"]) == (True, "gone", NOW + timedelta(days=9))
    # A source that is empty has lost all of them; one that is not whole, nothing.
    assert len(compared(lake, table, whole, settings)[1]) == 2
    assert compared(lake, table, BY_CONTENT, settings)[1] == []
