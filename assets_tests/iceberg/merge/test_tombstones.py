"""Deleted keys: a late older row does not bring one back, until the late horizon has passed; no reader sees them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.merge.things import BEGIN, THINGS, Things
from assets_tests.iceberg.overtaking import during
from lakehouse.errors import CatalogError, CommitError
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, TableName

DAY = timedelta(days=1)


@pytest.fixture
def things(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Things:
    """Keys 1 and 2 at sequence 5; then key 1 was deleted at 10."""
    made = Things.made(lake, duck)
    made.merge((1, 5, "one"), (2, 5, "two"))
    made.merge((1, 10, None))
    return made


def folder(things: Things) -> set[str]:
    """The files of deleted keys that are there."""
    place = Path(things.opened().location().removeprefix("file://")) / "metadata"
    return {str(file) for file in place.glob("tombstones-*.parquet")}


def test_a_late_older_row_does_not_bring_a_key_back(things: Things) -> None:
    commit = things.merge((1, 8, "late"))
    assert things.rows() == {2: (5, "two")}
    assert (commit.operation, commit.rows_added) == ("none", 0)
    things.merge((1, 9, "late"), (2, 6, "newer"))
    assert things.rows() == {2: (6, "newer")}
    assert (things.told("outdated"), things.told("updated"), things.told("inserted")) == (1, 1, 0)


@pytest.mark.parametrize("sequence", [10, 11])
def test_a_row_as_new_as_the_deletion_brings_the_key_back(things: Things, sequence: int) -> None:
    """Then nothing is remembered of it: as usual an older row of the table's own is replaced, and a newer one stays."""
    things.merge((1, sequence, "again"))
    assert things.rows() == {1: (sequence, "again"), 2: (5, "two")}
    assert (things.remembered(), things.file()) == ({}, None)


def test_a_key_that_was_never_there_is_remembered_as_well(things: Things) -> None:
    """Its deletion may come before its first row."""
    commit = things.merge((7, 3, None))
    assert (commit.rows_added, commit.rows_removed) == (0, 0)
    assert things.remembered() == {1: 10, 7: 3}
    things.merge((7, 2, "late"), (8, 2, "new"))
    assert things.rows() == {2: (5, "two"), 8: (2, "new")}


def test_a_deletion_older_than_the_row_is_outdated_and_leaves_nothing(things: Things) -> None:
    file = things.file()
    assert things.merge((2, 4, None)).operation == "none"
    assert things.rows() == {2: (5, "two")}
    assert (things.file(), things.remembered()) == (file, {1: 10})


def test_of_two_deletions_the_newer_counts(things: Things) -> None:
    things.merge((1, 9, None), (2, 6, None))
    assert things.remembered() == {1: 10, 2: 6}
    things.merge((1, 12, None))
    assert things.remembered() == {1: 12, 2: 6}
    things.merge((1, 11, "late"), (2, 5, "late"), (3, 1, "new"))
    assert things.rows() == {3: (1, "new")}


def test_several_changes_of_a_key_in_one_batch_leave_what_the_highest_says(things: Things) -> None:
    things.merge((3, 7, "first"), (3, 9, None), (3, 8, "second"), (4, 2, None), (4, 3, "lives"))
    assert things.rows() == {2: (5, "two"), 4: (3, "lives")}
    assert things.remembered() == {1: 10, 3: 9}


def test_the_same_file_stays_named_while_nothing_changes(things: Things) -> None:
    file, before = things.file(), folder(things)
    things.merge((2, 6, "newer"), (5, 1, "new"))
    things.table.append(pa.table({"id": [6], "name": ["six"], "version": [1]}), run_key="append")
    things.table.delete("id = 5", run_key="delete")
    # What is delivered twice says nothing new either.
    things.merge((1, 10, None), (2, 7, "newest"))
    assert things.file() == file
    assert (folder(things), things.remembered()) == (before, {1: 10})


def test_past_the_horizon_a_key_comes_back(things: Things) -> None:
    things.merge((1, 7, "late"), day=29.9)
    assert 1 not in things.rows()
    things.merge((1, 8, "late"), day=30)
    assert things.rows()[1] == (8, "late")


def test_the_horizon_is_the_merges_own(things: Things) -> None:
    things.merge((1, 8, "late"), day=2, late=3 * DAY)
    assert 1 not in things.rows()
    things.merge((1, 8, "late"), day=2, late=DAY)
    assert things.rows()[1] == (8, "late")


def test_what_is_past_the_horizon_is_forgotten(things: Things) -> None:
    """At once where a file is written anyway, else when half of what is in it is too old."""
    things.merge((3, 10, None), day=10)
    assert things.remembered() == {1: 10, 3: 10}
    things.merge((4, 10, None), day=31)
    assert things.remembered() == {3: 10, 4: 10}
    things.merge((2, 6, "newer"), day=41)
    assert things.remembered() == {3: 10, 4: 10}
    things.merge((2, 7, "newest"), day=80)
    assert things.file() is None


def test_a_horizon_below_zero_is_refused(things: Things) -> None:
    with pytest.raises(CommitError, match="late horizon"):
        things.merge((1, 8, "late"), late=-DAY)


def test_without_a_sequence_nothing_is_remembered_or_asked(things: Things) -> None:
    file = things.file()
    things.merge((1, 8, "back"), (2, 1, None), sequence=None)
    assert things.rows() == {1: (8, "back")}
    assert things.file() == file


def test_rows_without_a_marker_are_asked_too(things: Things) -> None:
    rows = pa.table({"id": [1, 2], "version": [8, 8], "name": ["late", "newer"]})
    things.table.merge(rows, key=["id"], sequence="version", connection=things.duck, run_key="r", issued_at=BEGIN)
    assert things.rows() == {2: (8, "newer")}


def test_no_reader_sees_deleted_keys(things: Things) -> None:
    """No manifest names the file, and it lies where readers look for no data."""
    table = things.opened()
    [snapshot] = [of for of in table.metadata.snapshots if of.snapshot_id == table.metadata.current_snapshot_id]
    listed = {
        entry.data_file.file_path.removeprefix("file://")
        for manifest in snapshot.manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
    }
    assert things.file() not in listed
    assert table.scan().to_arrow().num_rows == 1
    assert things.duck.execute(f"SELECT id FROM {things.table.relation_sql()}").fetchall() == [(2,)]
    assert Path(things.file() or "").parent.name == "metadata"


def test_the_file_says_which_columns_it_means(things: Things) -> None:
    """By field ids, so that anybody can read it."""
    schema = pq.read_schema(things.file())
    assert schema.names == ["key_1", "sequence", "written_at"]
    assert [(schema.field(name).metadata or {}).get(b"PARQUET:field_id") for name in schema.names] == [b"1", b"3", None]
    assert pq.read_table(things.file())["written_at"].to_pylist() == [BEGIN]


def test_a_renamed_column_is_the_same_key(things: Things, foreign: Callable[..., IcebergTable]) -> None:
    with foreign(things.table.name).update_schema() as update:
        update.rename_column("id", "number")
        update.rename_column("version", "revision")
    rows = pa.table({"number": [1], "revision": [8], "name": ["late"]})
    things.table.merge(rows, key=["number"], sequence="revision", connection=things.duck, run_key="r", issued_at=BEGIN)
    assert things.table.scan().read_all()["number"].to_pylist() == [2]


def test_another_key_or_sequence_is_refused_until_it_is_forgotten(things: Things) -> None:
    """What was remembered by other columns cannot be compared with these rows."""
    rows = pa.table({"name": ["two"], "version": [9], "id": [2]})

    def merge(run_key: str, **given: Any) -> None:  # noqa: ANN401  (passed on)
        things.table.merge(rows, key=["name"], sequence="version", connection=things.duck, run_key=run_key, **given)

    with pytest.raises(CommitError, match="by other columns") as refused:
        merge("refused", issued_at=BEGIN)
    assert (refused.value.expected, refused.value.found) == (
        "the key id and the sequence version",
        "the key name and the sequence version",
    )
    merge("forgets", issued_at=BEGIN, late=timedelta(0))
    merge("allowed", issued_at=BEGIN)
    assert things.rows() == {2: (9, "two")}


def test_with_a_horizon_of_zero_nothing_is_remembered(things: Things) -> None:
    things.merge((2, 6, None), late=timedelta(0))
    assert (things.rows(), things.file()) == ({}, None)
    things.merge((1, 1, "late"), (2, 1, "late"))
    assert set(things.rows()) == {1, 2}


@pytest.mark.parametrize("harm", ["gone", "cut", "other bytes"])
def test_a_lost_file_is_never_taken_for_an_empty_one(things: Things, harm: str) -> None:
    """As after an orphan removal by a program that knows nothing of it. How to go on stands in the error."""
    file = Path(things.file() or "")
    whole = file.read_bytes()
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(whole[:-5] if harm == "cut" else bytes(len(whole)))
    before = things.table.snapshots()[0].id
    with pytest.raises(CatalogError, match="deleted keys") as lost:
        things.merge((1, 8, "late"))
    assert "late=timedelta(0)" in (lost.value.remedy or "")
    assert things.table.snapshots()[0].id == before
    # What does not ask for it goes on.
    things.table.append(pa.table({"id": [6], "name": ["six"], "version": [1]}), run_key="append")
    things.merge((1, 8, "back"), (6, 2, None), late=timedelta(0))
    assert set(things.rows()) == {1, 2}
    things.merge((6, 3, None))
    assert things.remembered() == {6: 3}


def test_a_file_that_was_replaced_and_went_before_it_was_read_is_not_missed(settings: Settings, things: Things) -> None:
    """Another writer deleted a key since the table was loaded, and the file that was named then was removed."""
    rows = pa.table({"id": [1, 4], "version": [9, 9], "name": ["late", "late"]})
    old = Path(things.file() or "")

    def act() -> None:
        with connect(settings) as duck:
            replace(things, duck=duck).merge((4, 30, None))
        old.unlink()

    asked = {"key": ["id"], "sequence": "version", "run_key": "late", "issued_at": BEGIN}
    assert things.table.merge(during(rows, act), connection=things.duck, **asked).operation == "none"
    assert (things.rows(), things.remembered()) == ({2: (5, "two")}, {1: 10, 4: 30})


KEYS: dict[str, tuple[object, object]] = {
    "int": (1, 2),
    "string": ("eins", "zwei ☂"),
    "date": (date(1, 1, 1), date(9999, 12, 31)),
    "timestamp": (datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2026, 1, 1)),  # noqa: DTZ001  (of no zone)
    "timestamptz": (datetime(1969, 12, 31, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)),
    "decimal(38, 9)": (Decimal("-12345678901234567890.123456789"), Decimal(0)),
    "uuid": (uuid.UUID(int=1).bytes, uuid.UUID(int=2**128 - 1).bytes),
    "binary": (b"\x00\xff", b""),
    "boolean": (True, False),
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_type(lake: Lake, duck: duckdb.DuckDBPyConnection, kind: str) -> None:
    """Of two columns; the first of them is the same everywhere."""
    columns = (Column("a", "long"), Column("b", kind), Column("version", "timestamptz"))
    table = lake.create(replace(THINGS, name=TableName(Layer.SILVER, "typed"), columns=columns))
    arrow = table.scan().read_all().schema
    first, second = KEYS[kind]

    def merge(minute: int, *values: object, gone: bool = False) -> None:
        at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
        lines = {"a": [1] * len(values), "b": list(values), "version": [at] * len(values)}
        rows = pa.table({name: pa.array(line, arrow.field(name).type) for name, line in lines.items()})
        table.merge(
            rows.append_column("gone", pa.array([gone] * len(values))),
            key=["b", "a"],
            sequence="version",
            deleted="gone",
            connection=duck,
            run_key=os.urandom(8).hex(),
        )

    merge(10, first, second, gone=True)
    merge(9, first, second)
    assert table.scan().read_all().num_rows == 0
    merge(11, second)
    merge(8, first)
    assert table.scan().read_all()["b"].to_pylist() == pa.array([second], arrow.field("b").type).to_pylist()


def test_without_a_late_horizon_no_newer_deletion_counts_either(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """A run that was asked for before another deleted the key, and comes after it."""
    things = Things.made(lake, duck)
    things.merge((1, 20, None), day=5)
    things.merge((1, 10, "older"), day=1, late=timedelta(0))
    assert (things.rows(), things.remembered()) == ({1: (10, "older")}, {})
