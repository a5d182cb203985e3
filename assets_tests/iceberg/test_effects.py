"""Overwrite, delete and replace: which rows go, which stay, and what is refused."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import StringType

from assets_tests.iceberg.stored import paths
from lakehouse.errors import CommitError, QueryError
from lakehouse.iceberg import Lake, LakeTable, arrow_schema
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Window

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
DAY = date(2026, 1, 1)
OTHER = date(2026, 1, 2)


@pytest.fixture
def table(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(orders)


@pytest.fixture
def plain(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


def proof(table: LakeTable) -> dict[str, int]:
    return dict(json.loads(table.snapshots()[0].summary["lakehouse.proof"]))


# --- which rows -----------------------------------------------------------------------------------------------------


def test_rows_of_a_filter_are_replaced_and_others_written_anew(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows(range(10)), run_key="a")
    commit = plain.overwrite(rows([8]), where="order_id >= 7", run_key="b")
    assert ids(plain) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (1, 3, 7)
    assert (commit.operation, commit.files_added, commit.files_removed) == ("overwrite", 1, 1)
    assert proof(plain) == {"read": 10, "kept": 7, "removed": 3, "whole": 0}
    assert len(plain.snapshots()) == 2


def test_files_that_hold_no_such_row_keep_their_place(plain: LakeTable, rows: Rows, foreign: Foreign) -> None:
    plain.append(rows([1, 2, 3]), run_key="a")
    untouched = set(paths(foreign(plain.name)))
    # By its bounds this file may hold 5, and does not.
    plain.append(rows([4, 6]), run_key="b")
    gaps = set(paths(foreign(plain.name))) - untouched
    plain.append(rows([5]), run_key="c")
    assert plain.delete("order_id = 5", run_key="d").files_removed == 1
    assert set(paths(foreign(plain.name))) == untouched | gaps


def test_a_delete_of_whole_files_reads_and_writes_none(
    table: LakeTable, rows: Rows, ids: Ids, settings: Settings
) -> None:
    table.append(pa.concat_tables([rows([1], DAY), rows([2], OTHER)]), run_key="a")
    before = set((settings.state / "warehouse").rglob("*.parquet"))
    commit = table.delete("order_date = '2026-01-01'", run_key="b")
    assert (commit.operation, commit.rows_removed, commit.rows_rewritten, commit.files_added) == ("delete", 1, 0, 0)
    assert ids(table) == [2]
    assert set((settings.state / "warehouse").rglob("*.parquet")) == before


def test_a_delete_of_rows_in_between_is_an_overwrite(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows(range(6)), run_key="a")
    commit = plain.delete("order_id in (2, 4)", run_key="b")
    assert (commit.operation, commit.rows_added, commit.rows_removed) == ("overwrite", 0, 2)
    assert ids(plain) == [0, 1, 3, 5]


@pytest.mark.parametrize("where", ["order_id = 5", "order_id > 100", "email = 'nobody'"])
def test_a_delete_of_nothing_is_no_commit(plain: LakeTable, rows: Rows, where: str) -> None:
    plain.append(rows([1, 9]), run_key="a")
    commit = plain.delete(where, run_key="b")
    assert (commit.operation, commit.already_done, len(plain.snapshots())) == ("none", False, 1)


def test_a_delete_of_nothing_with_progress_is_an_empty_snapshot(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 9]), run_key="a")
    commit = plain.delete("order_id = 5", run_key="b", progress={"shop": {"w": 1}})
    assert (commit.rows_added, commit.rows_removed, commit.files_removed) == (0, 0, 0)
    assert plain.progress("shop") == {"w": 1}
    assert ids(plain) == [1, 9]


def test_columns_without_bounds_are_looked_at_row_by_row(table: LakeTable, rows: Rows, ids: Ids) -> None:
    """Personal columns have no metrics."""
    table.append(rows([1, 2, 3]), run_key="a")
    assert table.delete("email = '2@example.com'", run_key="b").rows_removed == 1
    assert ids(table) == [1, 3]


def test_a_filter_over_several_partition_specs_and_schemas(
    lake: Lake, flat: Table, rows: Rows, foreign: Foreign
) -> None:
    table = lake.create(flat)
    table.append(rows([1, 2]), run_key="a")
    with foreign(table.name).update_spec() as spec:
        spec.add_field("order_date", "day", "day")
    with foreign(table.name).update_schema() as schema:
        schema.rename_column("amount", "price").add_column("note", StringType())
    renamed = rows([3, 4], OTHER).rename_columns(["order_id", "order_date", "price", "paid_at", "email"])
    table.append(renamed.append_column("note", pa.array(["x", None])), run_key="b")
    assert table.delete("price = 0.25 or note = 'x'", run_key="c").rows_removed == 2
    left = table.scan().read_all().sort_by("order_id")
    assert left["order_id"].to_pylist() == [2, 4]
    assert left["price"].to_pylist() == [Decimal("0.50"), Decimal("1.00")]
    assert left["note"].to_pylist() == [None, None]
    assert left["email"].to_pylist() == ["2@example.com", "4@example.com"]


# --- a filter means what SQL says -----------------------------------------------------------------------------------

_COLUMNS = (Column("n", "int"), Column("d", "double"), Column("s", "string"), Column("day", "date"))
_NAN = float("nan")
_VALUES = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-3, 3),
        "d": st.none() | st.sampled_from([-1.5, 0.0, 2.5, _NAN]),
        "s": st.none() | st.sampled_from(["", "a", "ab", "abcdefghijklmnopqrstuvwxyz", "b"]),
        "day": st.none() | st.sampled_from([date(1969, 12, 31), date(1970, 1, 1), date(2026, 1, 1), date(2026, 2, 1)]),
    }
)
_LITERALS = {
    "n": ["-2", "0", "1"],
    "d": ["0.0", "2.5"],
    "s": ["'a'", "'abcdefghijklmnopqrst'"],
    "day": ["'1969-12-31'", "'2026-01-01'"],
}


@st.composite
def _predicates(draw: st.DrawFn) -> str:
    column = draw(st.sampled_from(sorted(_LITERALS)))
    literals = _LITERALS[column]
    kind = draw(st.sampled_from(["compare", "in", "not in", "null", "not null", "like"]))
    if kind == "compare":
        return f"{column} {draw(st.sampled_from(['<', '<=', '>', '>=', '=', '!=']))} {draw(st.sampled_from(literals))}"
    if kind in {"in", "not in"}:
        return f"{column} {kind} ({', '.join(literals)})"
    if kind == "like":
        return draw(st.sampled_from(["s like 'a%'", "s not like 'a%'"]))
    return f"{column} is {kind}"


_FILTERS = st.recursive(
    _predicates(),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda of: f"({of[0]}) {of[1]} ({of[2]})"),
        inner.map(lambda of: f"not ({of})"),
    ),
    max_leaves=4,
)
_SPECS = [
    (),
    (PartitionField("day", "identity"),),
    (PartitionField("day", "month"), PartitionField("n", "bucket[2]")),
    (PartitionField("s", "truncate[2]"),),
    (PartitionField("n", "truncate[2]"),),
]


@settings(max_examples=25, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_VALUES, min_size=1, max_size=4), min_size=1, max_size=3), _FILTERS, st.sampled_from(_SPECS))
def test_a_delete_removes_the_rows_for_which_sql_says_true(
    lake: Lake, files: list[list[dict[str, object]]], where: str, spec: tuple[PartitionField, ...]
) -> None:
    name = TableName(Layer.SILVER, f"t{uuid.uuid4().hex}")
    table = lake.create(Table(name, "shop", "any", _COLUMNS, Path("any.yaml"), partition_by=spec))
    schema = arrow_schema(_COLUMNS)
    for number, values in enumerate(files):
        table.append(pa.Table.from_pylist(values, schema), run_key=f"{number}")
    given_rows = pa.Table.from_pylist([row for values in files for row in values], schema)
    with duckdb.connect() as connection:
        # DuckDB orders NaN above all numbers, Arrow and Parquet do not: there a comparison with it is false.
        text = re.sub(r"\bd (?=[<>])", "nullif(d, 'nan'::double) ", where)
        expected = connection.sql(f"select * from given_rows where ({text}) is not true").to_arrow_table()
    commit = table.delete(where, run_key="delete")
    assert _bag(table.scan().read_all()) == _bag(expected)
    assert commit.rows_removed == given_rows.num_rows - expected.num_rows


def _bag(rows: pa.Table) -> list[str]:
    return sorted(str(tuple(row[name] for name in ("n", "d", "s", "day"))) for row in rows.to_pylist())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("order_id >", "place"),
        ("order_id > 1 1", "place"),
        ("nothing = 1", "nothing"),
        ("order_id = 'x'", "x"),
        ("order_id > 1.5", "1.5"),
        ("order_date = 'soon'", "soon"),
        ("true and order_id = 1", "true and"),
        ("email like 'a%b'", "end of a string"),
        ("", "place"),
    ],
)
def test_a_wrong_filter_is_named(plain: LakeTable, rows: Rows, where: str, said: str) -> None:
    plain.append(rows([1]), run_key="a")
    with pytest.raises(QueryError, match=said):
        plain.delete(where, run_key="b")
    with pytest.raises(QueryError, match=said):
        plain.overwrite(rows([1]), where=where, run_key="b")


def test_new_rows_that_the_filter_does_not_mean_are_refused(
    plain: LakeTable, rows: Rows, settings: Settings, ids: Ids
) -> None:
    plain.append(rows([1, 2]), run_key="a")
    before = set((settings.state / "warehouse").rglob("*.parquet"))
    with pytest.raises(CommitError, match="2 of 3 rows"):
        plain.overwrite(rows([1, 2, 3], amount=[Decimal(1), None, Decimal(5)]), where="amount > 2", run_key="b")
    assert ids(plain) == [1, 2]
    assert set((settings.state / "warehouse").rglob("*.parquet")) == before


def test_effects_take_place_on_their_branch_alone(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 2, 3]), run_key="a")
    plain.create_branch("run/b")
    plain.delete("order_id = 2", run_key="b", branch="run/b")
    assert (ids(plain), ids(plain, branch="run/b")) == ([1, 2, 3], [1, 3])


def test_timestamps_in_a_filter_are_utc(lake: Lake, orders: Table, rows: Rows, ids: Ids) -> None:
    table = lake.create(replace(orders, window_column="paid_at"))
    times = [datetime(2026, 1, 1, 23, 59, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]
    table.append(rows([1, 2], paid_at=times), run_key="a")
    assert table.delete(Window.of_days(OTHER, OTHER), run_key="b").operation == "delete"
    assert table.delete("paid_at < '2026-01-02T00:00:00+00:00'", run_key="c").rows_removed == 1
    assert ids(table) == []
