"""Overwrite, delete and replace: which rows go, which stay, and what is refused."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import StringType

from lakehouse.errors import CommitConflict, CommitError, QueryError, SchemaMismatch
from lakehouse.iceberg import Lake, LakeTable, arrow_schema
from lakehouse.settings import Settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName, Window

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Hide = Callable[..., None]
DAY = date(2026, 1, 1)
OTHER = date(2026, 1, 2)
FIRST = Window.of_days(DAY, DAY)


@pytest.fixture
def table(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(orders)


@pytest.fixture
def plain(lake: Lake, flat: Table) -> LakeTable:
    return lake.create(flat)


@pytest.fixture
def stock(settings: Settings) -> Iterator[Callable[[LakeTable], IcebergTable]]:
    """stock(table): the table as plain PyIceberg opens it."""
    catalog = SqlCatalog(settings.catalog.name, uri=settings.catalog.uri.get_secret_value())
    yield lambda table: catalog.load_table(table.name.key)
    catalog.engine.dispose()


def paths(table: IcebergTable) -> list[str]:
    return [task.file.file_path for task in table.scan().plan_files()]


def proof(table: LakeTable) -> dict[str, int]:
    return dict(json.loads(table.snapshots()[0].summary["lakehouse.proof"]))


def during(rows: pa.Table, act: Callable[[], object]) -> pa.RecordBatchReader:
    """The rows, with something that another writer does before they are written."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches()
        act()

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


# --- which rows -----------------------------------------------------------------------------------------------------


def test_rows_of_a_filter_are_replaced_and_others_written_anew(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows(range(10)), run_key="a")
    commit = plain.overwrite(rows([8]), where="order_id >= 7", run_key="b")
    assert ids(plain) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (1, 3, 7)
    assert (commit.operation, commit.files_added, commit.files_removed) == ("overwrite", 1, 1)
    assert proof(plain) == {"read": 10, "kept": 7, "removed": 3, "whole": 0}
    assert len(plain.snapshots()) == 2


def test_files_that_hold_no_such_row_keep_their_place(
    plain: LakeTable, rows: Rows, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    plain.append(rows([1, 2, 3]), run_key="a")
    untouched = set(paths(stock(plain)))
    # By its bounds this file may hold 5, and does not.
    plain.append(rows([4, 6]), run_key="b")
    gaps = set(paths(stock(plain))) - untouched
    plain.append(rows([5]), run_key="c")
    assert plain.delete("order_id = 5", run_key="d").files_removed == 1
    assert set(paths(stock(plain))) == untouched | gaps


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
    lake: Lake, flat: Table, rows: Rows, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    table = lake.create(flat)
    table.append(rows([1, 2]), run_key="a")
    with stock(table).update_spec() as spec:
        spec.add_field("order_date", "day", "day")
    with stock(table).update_schema() as schema:
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


# --- other writers --------------------------------------------------------------------------------------------------


def test_an_append_that_the_filter_may_mean_conflicts(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 2]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(
            during(rows([2]), lambda: plain.append(rows([3]), run_key="b")), where="order_id >= 2", run_key="c"
        )
    assert ids(plain) == [1, 2, 3]


def test_an_append_outside_the_filter_does_not(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    plain.append(rows([1, 2]), run_key="a")
    given_rows = during(rows([2]), lambda: plain.append(rows([0]), run_key="b"))
    assert plain.overwrite(given_rows, where="order_id >= 2", run_key="c").retries == 1
    assert ids(plain) == [0, 1, 2]


def test_an_untouched_file_is_not_rewritten_by_two_writers(plain: LakeTable, rows: Rows, ids: Ids) -> None:
    """Both write the same file anew: one of them must not bring the other's rows back."""
    plain.append(rows([1, 2, 3]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(
            during(rows([3]), lambda: plain.delete("order_id = 1", run_key="b")), where="order_id = 3", run_key="c"
        )
    assert ids(plain) == [2, 3]


@pytest.mark.parametrize("where", ["order_id = 2", None])
def test_rows_hidden_by_another_program_meanwhile_conflict(
    plain: LakeTable, rows: Rows, where: str | None, stock: Callable[[LakeTable], IcebergTable], hide: Hide
) -> None:
    plain.append(rows([1, 2]), run_key="a")
    with pytest.raises(CommitConflict):
        plain.overwrite(during(rows([2]), lambda: hide(stock(plain), 0)), where=where, run_key="b")
    assert plain.scan().read_all()["order_id"].to_pylist() == [2]


def test_position_deletes_of_another_program_are_applied_and_go_with_the_file(
    table: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable], hide: Hide
) -> None:
    table.append(pa.concat_tables([rows([1, 2, 3]), rows([9], OTHER)]), run_key="a")
    first = next(path for path in paths(stock(table)) if "2026-01-01" in path)
    hide(stock(table), 0, of=first)
    assert ids(table) == [2, 3, 9]
    commit = table.delete("order_id = 3", run_key="b")
    assert (commit.rows_removed, commit.rows_rewritten) == (1, 1)
    assert ids(table) == [2, 9]
    assert table.snapshots()[0].summary["total-delete-files"] == "0"
    assert not list(stock(table).inspect.delete_files().to_pylist())
    assert stock(table).scan().to_arrow().num_rows == 2


def test_delete_files_of_other_files_stay(
    plain: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable], hide: Hide
) -> None:
    plain.append(rows([1, 2]), run_key="a")
    hide(stock(plain), 0)
    plain.append(rows([5, 6]), run_key="b")
    plain.delete("order_id = 6", run_key="c")
    assert ids(plain) == [2, 5]
    assert plain.snapshots()[0].summary["total-delete-files"] == "1"


def test_files_under_equality_deletes_are_refused(
    plain: LakeTable, rows: Rows, stock: Callable[[LakeTable], IcebergTable], hide: Hide
) -> None:
    plain.append(rows([1, 2]), run_key="a")
    path = paths(stock(plain))
    hide(stock(plain), 77, by_value=True)
    with pytest.raises(CommitError, match="equality deletes"):
        plain.delete("order_id = 2", run_key="b")
    with pytest.raises(CommitError, match="equality deletes"):
        plain.replace_files(path, rows([1, 2]), run_key="b")
    # What is dropped whole need not be read.
    assert plain.delete("order_id > 0", run_key="b").rows_removed == 2


def test_manifests_that_the_summaries_rule_out_are_not_read(table: LakeTable, rows: Rows, settings: Settings) -> None:
    """Their files are gone, and still the window of another day is replaced."""
    table.append(rows([1], DAY), run_key="a")
    before = set((settings.state / "warehouse").rglob("*-m*.avro"))
    table.append(rows([2], OTHER), run_key="b")
    for manifest in before:
        manifest.unlink()
    assert table.overwrite(rows([3], OTHER), where=Window.of_days(OTHER, OTHER), run_key="c").rows_removed == 1


# --- replace --------------------------------------------------------------------------------------------------------


def test_replaced_files_hold_the_same_rows(
    table: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    for number in (1, 2, 3):
        table.append(rows([number]), run_key=f"{number}")
    old = paths(stock(table))
    commit = table.replace_files(old[:2], rows([3, 2]), run_key="compact")
    assert (commit.operation, commit.files_removed, commit.files_added) == ("replace", 2, 1)
    assert (commit.rows_added, commit.rows_removed, commit.rows_rewritten) == (0, 0, 2)
    assert ids(table) == [1, 2, 3]
    assert proof(table) == {"read": 2, "kept": 2, "removed": 0, "whole": 0}
    summary = table.snapshots()[0].summary
    assert (summary["total-records"], summary["total-data-files"]) == ("3", "2")
    entries = stock(table).inspect.entries().to_pylist()
    written = [entry for entry in entries if entry["snapshot_id"] == commit.snapshot_id and entry["status"] == 1]
    # The highest of its inputs, not that of the snapshot (4).
    assert [entry["sequence_number"] for entry in written] == [3]


def test_another_number_of_rows_is_refused(
    table: LakeTable, rows: Rows, settings: Settings, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    table.append(rows([1, 2]), run_key="a")
    before = set((settings.state / "warehouse").rglob("*.parquet"))
    for wrong in ([1], [1, 2, 3]):
        with pytest.raises(CommitError, match="not as many"):
            table.replace_files(paths(stock(table)), rows(wrong), run_key="b")
    assert len(table.snapshots()) == 1
    assert set((settings.state / "warehouse").rglob("*.parquet")) == before


def test_files_that_are_gone_conflict(
    table: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    table.append(rows([1, 2]), run_key="a")
    old = paths(stock(table))

    def other() -> None:
        table.delete("order_id = 1", run_key="b")

    with pytest.raises(CommitConflict, match="came or went"):
        table.replace_files(old, during(rows([1, 2]), other), run_key="c")
    with pytest.raises(CommitConflict, match="1 of 1 files"):
        table.replace_files(old, rows([1, 2]), run_key="d")
    assert ids(table) == [2]


def test_an_append_meanwhile_does_not_conflict_with_a_replace(
    table: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable]
) -> None:
    table.append(rows([1, 2]), run_key="a")
    given_rows = during(rows([1, 2]), lambda: table.append(rows([3]), run_key="b"))
    assert table.replace_files(paths(stock(table)), given_rows, run_key="c").retries == 1
    assert ids(table) == [1, 2, 3]


def test_a_row_deleted_before_or_while_a_replace_runs_stays_deleted(
    table: LakeTable, rows: Rows, ids: Ids, stock: Callable[[LakeTable], IcebergTable], hide: Hide
) -> None:
    table.append(rows([1, 2, 3]), run_key="a")
    old = paths(stock(table))
    hide(stock(table), 0)

    def other() -> None:
        hide(stock(table), 1)
        table.append(rows([9]), run_key="b")

    with pytest.raises(CommitConflict):
        table.replace_files(old, during(rows([2, 3]), other), run_key="c")
    assert ids(table) == [3, 9]
    with pytest.raises(CommitError, match="not as many"):
        table.replace_files(old, rows([1, 2, 3]), run_key="d")
    table.replace_files(old, rows([3]), run_key="d")
    assert ids(table) == [3, 9]
    assert table.snapshots()[0].summary["total-delete-files"] == "0"


def test_replacing_no_files_is_no_commit(table: LakeTable, rows: Rows) -> None:
    table.append(rows([1]), run_key="a")
    assert table.replace_files([], rows([]), run_key="b").operation == "none"
    assert len(table.snapshots()) == 1


def test_a_replace_conforms_its_rows(table: LakeTable, rows: Rows, stock: Callable[[LakeTable], IcebergTable]) -> None:
    table.append(rows([1]), run_key="a")
    with pytest.raises(SchemaMismatch):
        table.replace_files(paths(stock(table)), rows([1]).drop(["amount"]), run_key="b")


# --- branches and times -----------------------------------------------------------------------------------------------


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
