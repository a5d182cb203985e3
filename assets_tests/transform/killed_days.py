"""The child that `test_kill_days.py` starts: it publishes the good days of two tables, and is killed at a named swap.

Every case is a process forked from this one, with a lake of its own. Answers on stdout with one JSON line for each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa

from assets_tests.iceberg.killed import END, ROOT, forked, hook
from lakehouse.changes.edges import edges_of
from lakehouse.contracts import Declarations
from lakehouse.iceberg import Commit, Lake, connect, register
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Strategy, Table, TableName, Window
from lakehouse.transform.publish import Publication, publish_models
from lakehouse.transform.publish_days import DayPublisher, Judge
from lakehouse.transform.write import write_model

FIRST = date(2026, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range(3)]
BAD = DAYS[1]
WINDOW = Window.of_days(DAYS[0], DAYS[-1])
SWAPS = tuple(f"swap {number}" for number in range(1, 9))
"""Of each table: the branch of the good days is made, written to, brought to main, and dropped."""


def _daily(label: str) -> Table:
    columns = (Column("day", "date", required=True), Column("n", "long", required=True))
    return Table(
        TableName.parse(label),
        "till",
        "",
        columns,
        Path(f"{label}.yaml"),
        primary_key=("n",),
        window_column="day",
        window_start=FIRST,
        strategy=Strategy.OVERWRITE,
    )


SOURCE, SILVER, GOLD = tables = [_daily(label) for label in ("silver.a", "silver.b", "gold.c")]
DECLARED = Declarations(tables)
CHAIN = ((SILVER, SOURCE), (GOLD, SILVER))


def settings_of(folder: Path) -> Settings:
    """The settings of a lake of its own."""
    folder.mkdir(exist_ok=True)
    return load_settings(ROOT, state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})


def load(lake: Lake, worth: int) -> None:
    """What the chain reads comes anew: a row of each day."""
    rows = pa.table({"day": DAYS, "n": [worth + number for number in range(3)]}, schema=lake.create(SOURCE).schema())
    lake.create(SOURCE).overwrite(rows, where=None, run_key=f"load-{worth}")


def write(settings: Settings, lake: Lake, key: str) -> str:
    """Both tables on a branch of a run, the child from what the parent has there; gives the branch."""
    branch = f"run/{key}"
    with connect(settings) as connection:
        register(connection, lake, at=branch)
        for table, parent in CHAIN:
            edges = edges_of(table, [parent.name], DECLARED)
            sql = f"select day, n * 10 as n from {parent.name} where day >= '{WINDOW.start}' and day < '{WINDOW.end}'"
            write_model(lake, connection, table, sql, window=WINDOW, branch=branch, run_key=key, edges=edges)
            register(connection, lake, at=branch, tables=[table.name])
    return branch


def nothing_wrong(_name: TableName, _branch: str) -> tuple[Finding, ...]:
    """The judgement of a table without rules."""
    return ()


def publish(
    settings: Settings, lake: Lake, branch: str, bad: tuple[date, ...] = (BAD,), judge: Judge = nothing_wrong
) -> Publication:
    """Publish what is on the branch but for the bad day, parents first."""

    @contextmanager
    def as_on_main() -> Iterator[duckdb.DuckDBPyConnection]:
        with connect(settings) as connection:
            register(connection, lake)
            yield connection

    publisher = DayPublisher(lake, branch, WINDOW, judge, as_on_main)

    def days(table: Table, parent: Table, commits: dict[TableName, Commit]) -> Commit:
        return publisher.publish(table, edges_of(table, [parent.name], DECLARED), dict.fromkeys(bad, ""), commits)

    by_days = {table.name: partial(days, table, parent) for table, parent in CHAIN}
    return publish_models(lake, [table.name for table, _ in CHAIN], branch, {}, by_days=by_days)


def prepare(folder: Path) -> tuple[Settings, Lake, str]:
    """All days on main, all of them changed in the source, and computed on a branch."""
    settings = settings_of(folder)
    lake = Lake.open(settings)
    load(lake, 100)
    publish(settings, lake, write(settings, lake, "first"), bad=())
    load(lake, 200)
    return settings, lake, write(settings, lake, "second")


def _case(state: Path, case: str, say: int) -> None:
    settings, lake, branch = prepare(state / case.replace(" ", "-"))
    hook(case, say)
    publish(settings, lake, branch)


def main(state: str) -> None:
    """Run every case."""
    for case in (*SWAPS, END):
        told = forked("publish", case, partial(_case, Path(state), case))
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
