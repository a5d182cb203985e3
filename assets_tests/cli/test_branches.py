"""`lakehouse branch` and `lakehouse restore` as a user sees them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from lakehouse.cli.restore import moment_before
from lakehouse.contracts import read_tables
from lakehouse.errors import SettingsError
from lakehouse.iceberg import Lake, LakeTable, read_summary
from lakehouse.settings import Settings
from lakehouse.tables import Column, TableName, Window

if TYPE_CHECKING:
    from conftest import Command

FIRST, SECOND = date(2026, 1, 1), date(2026, 1, 2)
BRANCH = "run/late"


def value(column: Column, number: int, day: date) -> object:
    """Something of the column's type."""
    if column.type == "date":
        return day
    if column.type == "timestamptz":
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    return str(number) if column.type == "string" else number


@pytest.fixture
def orders(settings: Settings, lake: Lake) -> LakeTable:
    """silver.orders: order 1 of the first day on main; 10 in its place and 20 of the second day on a branch."""
    declared = read_tables(settings.defs)[TableName.parse("silver.orders")]
    table = lake.create(declared)

    def rows(*orders: tuple[int, date]) -> pa.Table:
        values = [{c.name: value(c, number, day) for c in declared.stored_columns} for number, day in orders]
        return pa.Table.from_pylist(values, schema=table.schema())

    table.append(rows((1, FIRST)), run_key="nightly-1", progress={"shop": {"w": 1}})
    table.create_branch(BRANCH)
    content = rows((10, FIRST), (20, SECOND))
    table.overwrite(
        content, where=Window.of_days(FIRST, SECOND), run_key="late-1", branch=BRANCH, progress={"shop": {"w": 2}}
    )
    return table


def numbers(table: LakeTable) -> list[int]:
    return sorted(table.scan(columns=["order_id"]).read_all()["order_id"].to_pylist())


def test_list_names_every_branch_and_what_it_brings(lakehouse: Command, orders: LakeTable) -> None:
    (row,) = json.loads(lakehouse("branch", "list", "--json").out)
    assert (row["table"], row["branch"], row["ahead"], row["behind"]) == ("silver.orders", BRANCH, 1, 0)
    assert (row["rows_added"], row["rows_removed"], row["publishable"]) == (2, 1, "as it is")
    assert BRANCH in lakehouse("branch", "list", "silver.orders").out
    orders.discard(BRANCH)
    assert lakehouse("branch", "list").out.strip() == "No branches."
    assert json.loads(lakehouse("branch", "list", "--json").out) == []


@pytest.mark.usefixtures("orders")
def test_show_tells_rows_runs_and_windows(lakehouse: Command) -> None:
    state = json.loads(lakehouse("branch", "show", "silver.orders", BRANCH, "--json").out)
    assert (state["run_keys"], state["files_added"], state["files_removed"]) == (["late-1"], 2, 1)
    assert [(one["window"], one["rows_added"], one["rows_removed"], one["on_main"]) for one in state["windows"]] == [
        ("2026-01-01..2026-01-01", 1, 1, False),
        ("2026-01-02..2026-01-02", 1, 0, False),
    ]
    shown = lakehouse("branch", "show", "silver.orders", BRANCH)
    assert shown.code == 0
    for word in ("late-1", "2026-01-02..2026-01-02", f"lakehouse query --branch {BRANCH}"):
        assert word in shown.out


def test_publish_brings_the_branch_to_main(lakehouse: Command, orders: LakeTable) -> None:
    planned = lakehouse("branch", "publish", "silver.orders", BRANCH, "--dry-run")
    assert (planned.code, numbers(orders)) == (0, [1])
    assert "would be published (2 rows added and 1 removed" in planned.out
    done = lakehouse("branch", "publish", "silver.orders", BRANCH)
    assert (done.code, numbers(orders), orders.branches()) == (0, [10, 20], ())
    assert "published, 2 rows added and 1 removed" in done.out
    again = lakehouse("branch", "publish", "silver.orders", BRANCH)
    assert again.code == 2
    assert "there is no branch 'run/late'" in again.err


def test_publish_of_a_window_keeps_the_rest(lakehouse: Command, orders: LakeTable) -> None:
    arguments = ["branch", "publish", "silver.orders", BRANCH]
    done = lakehouse(*arguments, "--window", "2026-01-02")
    assert numbers(orders) == [1, 20]
    assert f"Branch {BRANCH} keeps what is not published." in done.out
    assert "nothing was written" in lakehouse(*arguments, "--window", "2026-01-02..2026-01-02").out
    last = json.loads(lakehouse(*arguments, "--window", "2026-01-01..2026-01-02", "--json").out)
    assert (last["rows_added"], last["branches"], numbers(orders)) == (1, [], [10, 20])


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize("window", ["soon", "2026-01-02..2026-01-01", "2026-01-01..", "..2026-01-01"])
def test_a_window_that_is_none_is_refused(lakehouse: Command, window: str) -> None:
    ended = lakehouse("branch", "publish", "silver.orders", BRANCH, "--window", window)
    assert ended.code == 2
    assert "not a range of days" in ended.err


def test_a_publish_that_main_forbids_says_what_to_do(lakehouse: Command, orders: LakeTable) -> None:
    orders.delete("order_id = 1", run_key="foreign")
    ended = lakehouse("branch", "publish", "silver.orders", BRANCH)
    assert ended.code == 2
    assert "Discard it and run again" in ended.err
    assert orders.branches() == (BRANCH,)


def test_discard_gives_the_branch_up_and_leaves_main(lakehouse: Command, orders: LakeTable) -> None:
    assert lakehouse("branch", "discard", "silver.orders", BRANCH, "--dry-run").code == 0
    assert orders.branches() == (BRANCH,)
    assert "discarded" in lakehouse("branch", "discard", "silver.orders", BRANCH).out
    assert (orders.branches(), numbers(orders)) == ((), [1])
    assert lakehouse("branch", "discard", "silver.orders", BRANCH).code == 2
    assert lakehouse("branch", "discard", "silver.orders", "main").code == 2


def test_a_restore_is_planned_done_and_undone(
    lakehouse: Command, orders: LakeTable, lake: Lake, settings: Settings
) -> None:
    orders.publish(BRANCH)
    declared = read_tables(settings.defs)[TableName.parse("silver.products")]
    reader = lake.create(declared)
    read = read_summary({orders.name: orders.snapshots()[0].id})
    reader.append(reader.schema().empty_table(), run_key="x", progress={"s": {}}, summary=read)

    arguments = ["restore", "silver.orders", "--before-run", "late-1"]
    planned = lakehouse(*arguments)
    assert (planned.code, numbers(orders)) == (0, [10, 20])
    for said in ("2 -> 1", "late-1", '{"w": 2} -> {"w": 1}', "silver.products", "Do it with --yes"):
        assert said in planned.out, said

    done = json.loads(lakehouse(*arguments, "--yes", "--json").out)
    assert (done["restored"], done["downstream"], done["rows_after"]) == (True, ["silver.products"], 1)
    assert (numbers(orders), orders.progress("shop")) == ([1], {"w": 1})

    (tag,) = done["tags"]
    undone = lakehouse("restore", "silver.orders", "--snapshot", tag, "--yes")
    assert undone.code == 0
    assert "snapshots brought back" in undone.out
    assert (numbers(orders), orders.progress("shop")) == ([10, 20], {"w": 2})


def test_restore_says_how_to_undo_itself(lakehouse: Command, orders: LakeTable) -> None:
    first = orders.snapshots()[0].id
    orders.publish(BRANCH)
    done = lakehouse("restore", "silver.orders", "--snapshot", str(first), "--yes")
    (tag,) = orders.tags()
    assert f"lakehouse restore silver.orders --snapshot {tag} --yes" in done.out
    assert "nothing to restore" in lakehouse("restore", "silver.orders", "--snapshot", str(first), "--yes").out


def test_restore_to_before_a_time(lakehouse: Command, orders: LakeTable) -> None:
    orders.publish(BRANCH)
    published_at = orders.snapshots()[0].committed_at
    plan = json.loads(lakehouse("restore", "silver.orders", "--before", published_at.isoformat(), "--json").out)
    assert (plan["rows_after"], plan["restored"]) == (1, False)
    assert lakehouse("restore", "silver.orders", "--before", "2020-01-01T03:00").code == 2


@pytest.mark.usefixtures("orders")
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--before", "03:00", "--snapshot", "1"],
        ["--before", "three"],
        ["--snapshot", "12345"],
        ["--snapshot", "restored/never"],
        ["--before-run", "nobody"],
        ["--before-run", "nightly-1"],
        ["--before-run", "late-1", "--yes", "--dry-run"],
    ],
)
def test_a_restore_to_nowhere_is_refused(lakehouse: Command, options: list[str]) -> None:
    ended = lakehouse("restore", "silver.orders", *options)
    assert ended.code == 2
    assert ended.err.startswith("error ")
    assert "Traceback" not in ended.err


NOON = datetime(2026, 5, 2, 12, tzinfo=UTC)
MOMENT = timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("03:00", datetime(2026, 5, 2, 3, tzinfo=UTC)),
        ("12:00", NOON),
        ("12:01", datetime(2026, 5, 1, 12, 1, tzinfo=UTC)),  # that of yesterday: today's is still to come
        ("2026-04-30T03:00", datetime(2026, 4, 30, 3, tzinfo=UTC)),
        ("2026-04-30T03:00+02:00", datetime(2026, 4, 30, 1, tzinfo=UTC)),
        ("2026-04-30", datetime(2026, 4, 30, tzinfo=UTC)),
    ],
)
def test_times_are_utc_and_of_the_past(text: str, meant: datetime) -> None:
    assert moment_before(text, NOON) == meant - MOMENT


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="not a time"):
        moment_before("teatime", NOON)
