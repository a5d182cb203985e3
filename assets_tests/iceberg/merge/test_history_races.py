"""Two histories at once: the versions are those of all changes, whoever was first. And tables whose columns change."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.types import LongType

from assets_tests.iceberg.merge.customers import Customers, of, told
from assets_tests.iceberg.merge.history_oracle import LAST, Change, last_word, names
from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg import Lake, Way, connect
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, Table, TableName

Between = Callable[..., None]


@pytest.fixture
def customers(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Customers:
    return Customers(lake, duck)


@pytest.mark.parametrize("way", Way)
def test_a_history_of_the_same_key_comes_before_or_after(customers: Customers, between: Between, way: Way) -> None:
    customers.tell(of(1, "Ada"), of(1, "Bea", number=2))
    between(lambda: customers.tell(of(5, "Ida"), way=way))
    customers.tell(of(3, "Eda"), of(3, "Cleo", number=3), way=way)
    assert customers.right()
    assert customers.counts()["rounds"] == 2


def test_a_new_key_has_one_history(customers: Customers, between: Between) -> None:
    between(lambda: customers.tell(of(1, "Ada")))
    customers.tell(of(3, "Ida"))
    assert names(customers.versions()) == [(1, 3, "Ada"), (3, None, "Ida")]


def test_repeats_of_another_count_though_no_row_tells_of_them(customers: Customers, between: Between) -> None:
    customers.tell(of(1, "Ada"))
    between(lambda: customers.tell(of(5, "Ada")))
    customers.tell(of(3, "Ida"))
    assert customers.right()
    assert customers.counts()["rounds"] == 2


def test_a_version_that_stays_and_goes_meanwhile_is_not_relied_on(customers: Customers, between: Between) -> None:
    """What comes ends where it begins. Nothing goes, and the other writer brings nothing, and remembers nothing."""
    none: dict[str, timedelta] = {"late": timedelta(0)}
    customers.tell(of(5, "Bea"), **none)
    between(lambda: customers.history(told([of(4, None), of(5, None)]), deleted="gone", **none))
    customers.tell(of(3, "Ada"), **none)
    # Before the other's it would have become (3, 4).
    assert names(customers.versions()) == [(3, None, "Ada")]
    assert customers.counts()["rounds"] == 2


def test_an_unrelated_append_is_no_new_round(customers: Customers, between: Between) -> None:
    customers.tell(of(1, "Ada"), of(1, "Bea", number=9))
    other = customers.table.scan(where="number = 9").read_all().set_column(3, "number", pa.array([8], pa.int64()))
    between(lambda: customers.table.append(other, run_key="other"))
    commit = customers.tell(of(3, "Ida"))
    assert (commit.retries, customers.counts()["rounds"]) == (1, 1)


def test_a_compaction_meanwhile_is_followed(customers: Customers, between: Between) -> None:
    customers.tell(of(1, "Ada"), of(1, "Bea", number=2))
    customers.tell(of(5, "Ada"), of(6, None, number=2))
    files = [[file.path] for file in customers.table.live_files()]
    between(lambda: customers.table.compact(files, connection=customers.duck))
    customers.tell(of(3, "Ida"))
    assert customers.right()


def test_many_writers_leave_the_versions_of_all_their_changes(customers: Customers, settings: Settings) -> None:
    """Each change at a moment of its own: of two at once which arrived last is anybody's guess."""
    random = Random(4)  # noqa: S311  (a seed, no secret)
    changes = [of(at, random.choice(["x", "y", None]), number=number) for at in range(LAST + 1) for number in (1, 2)]
    random.shuffle(changes)
    customers.known = last_word(changes)

    def write(part: list[Change]) -> None:
        with connect(settings) as duck:
            table = Lake.open(settings).table(customers.declared.name)
            for number in range(0, len(part), 3):
                few = part[number : number + 3]
                asked = {"key": ["shop", "number"], "deleted": "gone", "surrogate": "customer_key"}
                run_key = f"{few[0]}"
                table.history(told(few), effective="changed_at", connection=duck, run_key=run_key, **asked)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, [changes[start::3] for start in range(3)]))
    assert customers.right()


def test_columns_that_change_meanwhile_are_a_conflict(lake: Lake, customers: Customers, between: Between) -> None:
    customers.tell(of(1, "Ada"))
    wider = replace(customers.declared, columns=(*customers.declared.columns, Column("city", "string")))

    def act() -> None:
        customers.tell(of(5, "Ida"))
        lake.create(wider)

    between(act)
    with pytest.raises(CommitConflict, match=r"columns of .* were changed meanwhile"):
        customers.tell(of(3, "Eda"))
    assert names(customers.versions()) == [(1, 5, "Ada"), (5, None, "Ida")]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_new_column_is_an_attribute_and_a_retired_one_stays_with_its_versions(
    lake: Lake, customers: Customers, *, at_once: bool
) -> None:
    customers.tell(of(1, "Ada", rank=7), of(3, "Bea", rank=8))
    columns = tuple(column for column in customers.declared.columns if column.name != "rank")
    wider = replace(customers.declared, columns=(*columns, Column("city", "string")))
    if not at_once:
        lake.create(wider)
    rows = told([of(5, "Bea"), of(9, None)]).drop_columns("rank").append_column("city", pa.array(["Ulm", None]))
    customers.history(rows, deleted="gone", evolve=wider if at_once else None)
    found = customers.table.scan(columns=["name", "rank", "city"]).read_all().to_pylist()
    assert sorted((row["name"], row["city"] or "", row["rank"]) for row in found) == [
        ("Ada", "", 7),
        ("Bea", "", 8),
        ("Bea", "Ulm", None),
    ]


def test_a_wider_and_renamed_key_keeps_what_is_remembered(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    declared = Table(
        name=TableName(Layer.GOLD, "renamed"),
        domain="shop",
        description="Customers",
        columns=(
            Column("id", "int"),
            Column("name", "string"),
            Column("valid_from", "timestamptz"),
            Column("valid_to", "timestamptz"),
        ),
        file=Path("renamed.yaml"),
    )
    table = lake.create(declared)

    def tell(day: int, name: str, key: str) -> None:
        moment = datetime(2026, 1, day, tzinfo=UTC)
        rows = pa.table({key: pa.array([1], pa.int32()), "name": [name], "valid_from": pa.array([moment])})
        asked = {"key": [key], "effective": "valid_from", "current": None, "late": timedelta(days=1)}
        table.history(rows, connection=duck, run_key=f"{day} {name}", **asked)

    tell(1, "Ada", "id")
    tell(5, "Ada", "id")
    with table._load().update_schema() as update:  # noqa: SLF001  (as another program does)
        update.update_column("id", field_type=LongType())
        update.rename_column("id", "number")
    tell(3, "Ida", "number")
    found = table.scan(columns=["valid_from", "name"]).read_all().to_pylist()
    assert sorted((row["valid_from"].day, row["name"]) for row in found) == [(1, "Ada"), (3, "Ida"), (5, "Ada")]


def test_files_under_equality_deletes_are_left_to_who_wrote_them(
    customers: Customers, hide: Callable[..., None]
) -> None:
    customers.tell(of(1, "Ada"))
    hide(customers.table._load(), 1, by_value=True)  # noqa: SLF001  (as another program opens it)
    with pytest.raises(CommitError, match="equality deletes"):
        customers.tell(of(3, "Ida"))
