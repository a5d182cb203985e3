"""What is remembered of changes that no version tells of: how long, where, and when it is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets_tests.iceberg.merge.customers import BEGIN, Customers, moment, of, told
from assets_tests.iceberg.merge.history_oracle import names
from lakehouse.errors import CommitError, Fenced
from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.tables import Column, Layer, Table, TableName

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def customers(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Customers:
    return Customers(lake, duck)


def days(count: float) -> dict[str, Any]:
    """A run that was asked for so many days later."""
    return {"issued_at": NOON + timedelta(days=count)}


def test_repeats_are_remembered_for_thirty_days(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(5, "Ada"), of(1, "Bea", number=2), **days(0))
    assert customers.remembered() == 1
    customers.tell(of(5, "Bea", number=2), **days(10))
    assert customers.remembered() == 2
    # What was remembered before is not remembered for longer by being told again.
    assert customers.tell(of(5, "Ada"), **days(20)).operation == "none"
    customers.tell(of(3, "Ida"), of(3, "Ida", number=2), **days(30))
    assert names(customers.versions()) == [
        (1, 3, "Ada"),
        (1, 3, "Bea"),
        (3, 5, "Ida"),
        (3, None, "Ida"),
        (5, None, "Bea"),
    ]


def test_a_horizon_of_ones_own_and_none_at_all(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(5, "Ada"), **days(0))
    customers.tell(of(1, "Bea", number=2), of(5, "Bea", number=2), late=timedelta(days=2), **days(1))
    assert customers.remembered() == 2
    customers.tell(of(7, "Ada"), late=timedelta(days=2), **days(2.5))
    assert customers.remembered() == 2
    customers.tell(of(9, "Ada"), late=timedelta(0), **days(2.5))
    assert customers.remembered() == 0
    customers.tell(of(3, "Ida"), of(3, "Ida", number=2), late=timedelta.max, **days(3))
    assert names(customers.versions()) == [(1, 3, "Ada"), (1, 3, "Bea"), (3, None, "Ida"), (3, None, "Ida")]
    with pytest.raises(CommitError, match="late horizon of -1 day"):
        customers.tell(of(4, "Ada"), late=timedelta(days=-1))


def test_what_is_not_a_repeat_any_more_is_not_remembered(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(5, "Ada"))
    customers.tell(of(3, "Ida"))
    assert customers.remembered() == 0
    customers.tell(of(3, "Ada"))
    assert customers.remembered() == 2
    customers.tell(of(1, None))
    assert customers.right()
    # The deletion of what was not there is one too: of all three moments only the one at 3 begins something.
    assert customers.remembered() == 2


def test_a_snapshot_may_be_about_repeats_alone(customers: Customers) -> None:
    customers.tell(of(1, "Ada"))
    files = [file.path for file in customers.table.live_files()]
    commit = customers.tell(of(5, "Ada"))
    assert (commit.operation, commit.rows_added, commit.rows_removed, commit.files_added) == ("append", 0, 0, 0)
    assert [file.path for file in customers.table.live_files()] == files
    assert customers.remembered() == 1
    # Carried on by whatever is written.
    customers.table.append(customers.table.scan(limit=0).read_all(), run_key="progress", progress={"feed": {"at": 1}})
    customers.tell(of(3, "Ida"))
    assert customers.right()


def test_repeats_stay_with_their_branch(customers: Customers) -> None:
    customers.tell(of(1, "Ada"))
    customers.table.create_branch("work")
    customers.tell(of(5, "Ada"), branch="work")
    customers.known[("a", 1)].pop(5)
    customers.tell(of(3, "Ida"))
    assert customers.right()
    customers.known[("a", 1)][5] = ("Ada", None)
    customers.tell(of(3, "Ida"), branch="work")
    assert customers.right("work")


def test_any_reader_of_parquet_finds_them_by_field_id(customers: Customers) -> None:
    customers.tell(of(1, "Ada"), of(5, "Ada"), of(2, None, number=2), **days(0))
    path = json.loads(customers.table.snapshots()[0].summary["lakehouse.tombstones"])["path"]
    rows = pq.read_table(path.removeprefix("file://")).to_pylist()
    stored = [(row["key_3"], row["key_4"], row["key_7"], row["sequence"], row["written_at"]) for row in rows]
    assert sorted(stored) == [("a", 1, moment(5), moment(5), NOON), ("a", 2, moment(2), moment(2), NOON)]


def test_the_deleted_keys_of_merges_are_not_taken_for_repeats(customers: Customers) -> None:
    customers.tell(of(1, "Ada"))
    row = customers.table.scan().read_all().append_column("gone", pa.array([True]))
    asked = {"key": ["shop", "number"], "sequence": "valid_from", "deleted": "gone"}
    customers.table.merge(row, connection=customers.duck, run_key="merge", **asked)
    with pytest.raises(CommitError, match="remembers keys of other columns"):
        customers.tell(of(3, "Ida"))
    customers.tell(of(3, "Ida"), late=timedelta(0))
    assert names(customers.versions()) == [(3, None, "Ida")]


def test_a_refused_commit_leaves_no_file(
    customers: Customers, files: Callable[[], int], between: Callable[..., None]
) -> None:
    customers.tell(of(1, "Ada"))
    before = files()
    moved = {"progress": {"feed": {"at": 1}}, "run_key": "other"}
    between(lambda: customers.table.append(customers.table.scan(limit=0).read_all(), **moved))
    with pytest.raises(Fenced):
        customers.history(told([of(5, "Ada"), of(6, "Ida")]), deleted="gone", expected_progress={"feed": None})
    assert files() == before


def test_the_file_of_a_round_that_was_overtaken_goes(
    customers: Customers, files: Callable[[], int], between: Callable[..., None]
) -> None:
    customers.tell(of(1, "Ada"))
    before = files()
    between(lambda: customers.tell(of(5, "Ada")))
    customers.tell(of(7, "Ada"))
    assert customers.remembered() == 2
    assert files() == before + 2


KINDS = {
    "date": (datetime(2026, 1, 1, tzinfo=UTC).date(), "date"),
    "uuid": (bytes(range(16)), "uuid"),
    "fixed": (b"1234", "fixed[4]"),
    "binary": (b"12", "binary"),
    "decimal": (Decimal("1.5"), "decimal(30, 2)"),
    "timestamp": (datetime(2026, 1, 1), "timestamp"),  # noqa: DTZ001  (a type without zone)
    "string": ("key", "string"),
}


def test_keys_of_every_type_are_remembered(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    columns = [Column(name, kind) for name, (_, kind) in KINDS.items()]
    declared = Table(
        name=TableName(Layer.GOLD, "kinds"),
        domain="shop",
        description="Keys",
        columns=(*columns, Column("name", "string"), Column("valid_from", "date"), Column("valid_to", "date")),
        file=Path("kinds.yaml"),
    )
    table = lake.create(declared)
    schema, runs = arrow_schema(declared.columns[:-1]), count()

    def tell(day: int, name: str) -> str:
        key = {column: value for column, (value, _) in KINDS.items()}
        row = {**key, "name": name, "valid_from": (BEGIN + timedelta(days=day)).date()}
        rows = pa.table({field.name: pa.array([row[field.name]], field.type) for field in schema})
        asked = {"key": list(KINDS), "effective": "valid_from", "current": None}
        return table.history(rows, connection=duck, run_key=f"kinds {next(runs)}", **asked).operation

    assert [tell(1, "Ada"), tell(5, "Ada"), tell(3, "Ida"), tell(5, "Ada")] == ["append", "append", "overwrite", "none"]
    found = table.scan(columns=["name", "valid_from", "valid_to"]).read_all().to_pylist()
    assert sorted((row["valid_from"].day, row["name"], row["valid_to"] and row["valid_to"].day) for row in found) == [
        (2, "Ida", 4),
        (4, "Ada", None),
        (31, "Ada", 2),
    ]


def test_without_a_late_horizon_nothing_newer_counts_either(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """A run that was asked for first and comes second: also what it finds remembered since is forgotten."""
    customers, later = Customers(lake, duck), datetime(2026, 11, 2, tzinfo=UTC)
    customers.tell(of(1, "Ada"), of(5, "Ada"), issued_at=later)
    assert customers.remembered() == 1
    customers.tell(of(3, "Bea"), issued_at=later - timedelta(days=1), late=timedelta(0))
    assert names(customers.versions()) == [(1, 3, "Ada"), (3, None, "Bea")]
    assert customers.remembered() == 0
