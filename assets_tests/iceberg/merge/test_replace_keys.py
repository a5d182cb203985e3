"""Rows in the place of all rows of their keys: what the table holds afterwards is what DELETE and INSERT make of a
plain table. Beside other writers: `test_replace_keys_races.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import CommitError, Fenced, SchemaMismatch
from lakehouse.iceberg import CHANGE, Lake, Way
from lakehouse.tables import Column

CASES = [("flat", Way.COPY_ON_WRITE), ("by day", Way.MERGE_ON_READ), ("by bucket", None)]
"""Each layout and each way once; any of them: the last test."""
_tables = count()


@pytest.fixture(params=CASES, ids=lambda case: " ".join(map(str, case)))
def case(request: pytest.FixtureRequest) -> tuple[str, Way | None]:
    return request.param  # type: ignore[no-any-return]  # pytest does not know


@pytest.fixture
def way(case: tuple[str, Way | None]) -> Way | None:
    return case[1]


@pytest.fixture
def twin(case: tuple[str, Way | None], twins: Callable[..., Twin]) -> Twin:
    """Of the keys 1 to 4 two rows each, one of each of two days; of 5 and 6 one."""
    made = twins(case[0])
    for day in (1, 2):
        made.append(rows(*((number, day, f"old {day}", 10) for number in (1, 2, 3, 4, 4 + day))))
    return made


def told(twin: Twin) -> dict[str, int]:
    """What the head's summary says of it."""
    return json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])  # type: ignore[no-any-return]


def test_all_rows_of_a_key_go_and_all_that_came_enter(twin: Twin, way: Way | None) -> None:
    given = rows((2, 1, "a", 1), (9, 3, "b", 1), (2, 3, "c", 1), (5, 1, "d", 1), (9, 3, "b", 1), (2, 1, "a", 1))
    commit = twin.replace_keys(given, way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, commit.rows_removed) == ("overwrite", 6, 3)
    found = told(twin)
    assert {name: found[name] for name in ("rows", "keys", "updated", "inserted", "rounds")} == {
        "rows": 6, "keys": 3, "updated": 2, "inserted": 1, "rounds": 1,
    }  # fmt: skip
    assert len(twin.table.snapshots()) == 3


def test_rows_enter_in_the_order_in_which_they_came(twins: Callable[..., Twin], way: Way | None) -> None:
    """Those of one key too, over several batches, with others between them."""
    twin = twins("flat", "ordered")
    numbers = [7, 3, 7, 1, 3, 7]
    batches = [rows((number, 1, str(at), at)).to_batches()[0] for at, number in enumerate(numbers)]
    given = pa.RecordBatchReader.from_batches(batches[0].schema, batches)
    twin.table.replace_keys(given, key=["id"], connection=twin.duck, way=way, run_key="a")
    assert twin.table.scan().read_all()["version"].to_pylist() == list(range(6))


def test_new_keys_alone_are_an_append(twin: Twin, way: Way | None) -> None:
    commit = twin.replace_keys(rows((20, 1, "new", 1), (20, 1, "new", 1), (21, 3, "new", 1)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added, commit.rows_removed, told(twin)["inserted"]) == ("append", 3, 0, 2)


def test_an_empty_table_takes_all_rows(twins: Callable[..., Twin], way: Way | None) -> None:
    twin = twins("by day", "empty")
    commit = twin.replace_keys(rows((1, 1, "first", 1), (2, 2, "other", 1), (1, 1, "first", 1)), way=way)
    assert not twin.differs()
    assert (commit.operation, commit.rows_added) == ("append", 3)


def test_a_day_is_a_key(twin: Twin, way: Way | None) -> None:
    """A whole partition, or a few rows of many; the same key is several columns, in any order."""
    twin.append(rows((1, 3, "kept", 1), (1, 4, "kept", 1)))
    twin.replace_keys(rows((30, 2, "new", 1), (31, 2, "new", 1), (1, 3, "new", 1)), key=("day",), way=way)
    assert not twin.differs()
    assert twin.rows()[0] == (1, date(2026, 1, 1), "old 1", 5, 10)
    twin.replace_keys(rows((1, 1, "both", 2), (1, 1, "both", 3), (1, 9, "new", 1)), key=("day", "id"), way=way)
    assert not twin.differs()
    assert (told(twin)["updated"], told(twin)["inserted"]) == (1, 1)


def test_rows_hidden_before_do_not_come_back(
    twin: Twin, way: Way | None, stock: Callable[[Twin], IcebergTable]
) -> None:
    for file in twin.table.live_files():
        hide(stock(twin), 0, of=file.path)
    twin.follow()
    twin.replace_keys(rows((2, 1, "new", 1), (3, 2, "new", 1)), way=way)
    assert not twin.differs()
    twin.replace_keys(rows((2, 1, "again", 1), (1, 2, "again", 1)), way=way)
    assert not twin.differs()


def test_no_rows_are_no_commit_unless_there_is_progress(twin: Twin) -> None:
    before = twin.table.snapshots()
    assert (twin.replace_keys(rows()).operation, twin.table.snapshots()) == ("none", before)
    commit = twin.replace_keys(rows(), progress={"shop": {"at": 1}})
    assert (commit.operation, twin.table.progress("shop")) == ("append", {"at": 1})
    assert not twin.differs()


def test_a_run_key_writes_once(twin: Twin, way: Way | None) -> None:
    first = twin.replace_keys(rows((1, 1, "new", 1)), way=way, run_key="load")
    again = twin.table.replace_keys(rows((1, 1, "other", 1)), key=["id"], connection=twin.duck, run_key="load")
    assert (again.already_done, again.snapshot_id, again.rows_added) == (True, first.snapshot_id, 1)
    assert not twin.differs()


def test_a_writer_that_is_behind_is_fenced(twin: Twin) -> None:
    twin.replace_keys(rows((1, 1, "new", 1)), progress={"shop": {"at": 1}}, expected_progress={"shop": None})
    with pytest.raises(Fenced, match="'shop'"):
        twin.table.replace_keys(
            rows((2, 1, "late", 1)), key=["id"], connection=twin.duck, run_key="late", expected_progress={"shop": None}
        )
    assert not twin.differs()


def test_a_branch_is_written_and_main_is_not(twin: Twin, way: Way | None) -> None:
    twin.table.create_branch("run/x")
    before = sorted(twin.table.scan(columns=["id"]).read_all()["id"].to_pylist())
    commit = twin.replace_keys(rows((1, 1, "new", 1), (30, 1, "new", 1)), branch="run/x", way=way)
    assert (commit.branch, commit.rows_added, commit.rows_removed) == ("run/x", 2, 2)
    assert not twin.differs("run/x")
    assert sorted(twin.table.scan(columns=["id"]).read_all()["id"].to_pylist()) == before
    twin.table.publish("run/x")
    assert not twin.differs()


def test_changes_are_net(twin: Twin, way: Way | None) -> None:
    """A row that is there again as it was has not changed for those who read on."""
    since = twin.table.snapshots()[0].id
    twin.replace_keys(rows((2, 1, "old 1", 10), (2, 2, "new", 10), (9, 1, "new", 10)), way=way)
    with twin.table.changes(since) as changes:
        read = changes.rows().read_all()
    found = sorted(zip(read[CHANGE].to_pylist(), read["id"].to_pylist(), read["name"].to_pylist(), strict=True))
    assert found == [("delete", 2, "old 2"), ("insert", 2, "new"), ("insert", 9, "new")]


def test_what_does_not_fit_is_refused_and_leaves_nothing(twin: Twin, files: Callable[[], int]) -> None:
    before, whole = files(), rows((1, 1, "a", 1), (1, 1, "a", 1))
    no_key = whole.set_column(0, "id", pa.array([1, None], pa.int64()))
    for wrong, key, error, says in (
        (no_key, "id", SchemaMismatch, r"1 NULL in id \(rows 1\)"),
        (whole.drop_columns("amount"), "id", SchemaMismatch, "missing amount"),
        (whole.drop_columns("id"), "id", SchemaMismatch, "missing id"),
        (whole.append_column("colour", [["red"] * 2]), "id", SchemaMismatch, "unknown colour"),
        (whole.set_column(0, "id", [pa.array(["one"] * 2)]), "id", SchemaMismatch, "types"),
        (whole, "amounts", CommitError, "amounts"),
    ):
        with pytest.raises(error, match=says):
            twin.table.replace_keys(wrong, key=[key], connection=twin.duck, run_key="wrong")
    assert files() == before
    assert not twin.differs()


def test_a_new_column_comes_with_the_rows(twin: Twin, way: Way | None) -> None:
    grown = replace(twin.declared, columns=(*twin.declared.columns, Column("colour", "string")))
    given = rows((2, 1, "new", 1), (2, 3, "new", 1), colour=["red", "blue"])
    twin.replace_keys(given.drop_columns("colour"), way=way)
    twin.table.replace_keys(given, key=["id"], connection=twin.duck, way=way, evolve=grown, run_key="grow")
    assert not twin.differs()
    colours = twin.duck.sql(f"select id, colour from {twin.table.relation_sql()} order by all").fetchall()
    assert [colour for number, colour in colours if number == 2] == ["blue", "red"]
    assert {colour for number, colour in colours if number != 2} == {None}


def test_a_retired_column_need_not_come(twin: Twin, way: Way | None, lake: Lake) -> None:
    """The contract has it no more; what rows that are replaced had there goes with them."""
    lake.create(replace(twin.declared, columns=twin.declared.columns[:-1]))
    given = rows((2, 1, "new", 1), (2, 2, "new", 1)).drop_columns("version")
    twin.table.replace_keys(given, key=["id"], connection=twin.duck, way=way, run_key="fewer")
    read = twin.table.scan(columns=["id", "name", "version"]).read_all().to_pylist()
    assert sorted((row["name"], row["version"]) for row in read if row["id"] == 2) == [("new", None)] * 2
    assert {row["version"] for row in read if row["id"] != 2} == {10}


def test_a_deleted_key_stays_remembered(twin: Twin) -> None:
    """What the rows are said to be is not told by a sequence; a later merge asks the table's rows, and the deletion."""
    late: dict[str, Any] = {"sequence": "version", "late": timedelta(days=1), "key": ["id"], "connection": twin.duck}
    twin.table.merge(rows((2, 1, "gone", 20), gone=[True]), deleted="gone", run_key="gone", **late)
    twin.table.replace_keys(rows((2, 1, "back", 5)), key=["id"], connection=twin.duck, run_key="back")
    twin.table.merge(rows((2, 1, "older", 15)), run_key="older", **late)
    assert twin.table.scan(where="id = 2").read_all()["name"].to_pylist() == ["back"]


ROWS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(1, 3), st.sampled_from(["a", "b", ""]), st.integers(0, 2)), max_size=9
)
WRITES = st.fixed_dictionaries(
    {"rows": ROWS, "key": st.sampled_from([("id",), ("day",), ("name", "id")]), "way": st.sampled_from([None, *Way])}
)
STEPS = st.one_of(
    WRITES,
    WRITES,
    WRITES,
    ROWS.filter(bool).map(lambda given_rows: {"append": given_rows}),
    ROWS.map(lambda given_rows: {"merge": given_rows}),
    st.integers(0, 1000).map(lambda number: {"hide": number}),
)


@pytest.mark.parametrize("layout", ["flat", "by day", "by bucket"])
@given(steps=st.lists(STEPS, min_size=2, max_size=6))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_step_makes_what_plain_sql_makes(
    twins: Callable[..., Twin], stock: Callable[[Twin], IcebergTable], layout: str, steps: list[dict[str, Any]]
) -> None:
    """Among merges by key, and rows that other programs hide."""
    twin = twins(layout, f"random_{next(_tables)}")
    for step in steps:
        if "append" in step:
            twin.append(rows(*step["append"]))
        elif "merge" in step:
            twin.merge(rows(*step["merge"]))
        elif "hide" not in step:
            twin.replace_keys(rows(*step["rows"]), key=step["key"], way=step["way"])
        elif live := twin.table.live_files():
            file = live[step["hide"] % len(live)]
            hide(stock(twin), step["hide"] % file.rows, of=file.path)
            twin.follow()
        assert not twin.differs()
