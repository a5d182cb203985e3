"""A daily model's commit says how far it has followed what it read; the same commit as its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from assets_tests.transform.killed_days import DAYS, DECLARED, SILVER, SOURCE, load, settings_of
from lakehouse.changes.consumed import Consumed, consumed
from lakehouse.changes.edges import Edge, edges_of
from lakehouse.errors import CommitError
from lakehouse.iceberg import Commit, Lake, connect, read_by, register
from lakehouse.tables import Window
from lakehouse.transform.write import write_model

EDGES = edges_of(SILVER, [SOURCE.name], DECLARED)
FIRST = Window.of_days(DAYS[0], DAYS[0])


@dataclass
class Writer:
    """Builds days of one table from another."""

    lake: Lake
    duck: duckdb.DuckDBPyConnection
    keys: int = 0

    def build(self, window: Window | None, branch: str = "main", edges: tuple[Edge, ...] = EDGES) -> Commit:
        self.keys += 1
        register(self.duck, self.lake, at=branch)
        days = "true" if window is None else f"day >= '{window.start}' and day < '{window.end}'"
        sql = f"select day, n from {SOURCE.name} where {days}"
        return write_model(
            self.lake, self.duck, SILVER, sql, window=window, branch=branch, run_key=str(self.keys), edges=edges
        )

    def followed(self, branch: str = "main") -> Consumed | None:
        return consumed(self.lake, SILVER.name, branch).get(SOURCE.name)

    def source(self) -> tuple[int, int]:
        head = self.lake.table(SOURCE.name).snapshots()[0]
        return head.sequence_number, head.id


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    settings = settings_of(tmp_path / "lake")
    lake = Lake.open(settings)
    load(lake, 100)
    with connect(settings) as duck:
        yield Writer(lake, duck)


@pytest.mark.parametrize("branch", ["main", "run/1"])
def test_the_first_build_of_a_day_leaves_no_other_day_behind(writer: Writer, branch: str) -> None:
    writer.build(FIRST, branch)
    assert writer.followed(branch) == Consumed(*writer.source(), {})


def test_days_that_were_changed_and_not_built_stay_pending_until_they_are(writer: Writer) -> None:
    writer.build(None)
    load(writer.lake, 200)
    sequence, snapshot = writer.source()

    commit = writer.build(FIRST)

    pending = {DAYS[1]: sequence, DAYS[2]: sequence}
    assert writer.followed() == Consumed(sequence, snapshot, pending)
    head = writer.lake.table(SILVER.name).snapshots()[0]
    assert (head.id, read_by(writer.lake, SILVER.name)) == (commit.snapshot_id, {SOURCE.name: snapshot})
    writer.build(Window.of_days(DAYS[2], DAYS[2]))
    assert writer.followed() == Consumed(sequence, snapshot, {DAYS[1]: sequence})
    writer.build(None)
    assert writer.followed() == Consumed(sequence, snapshot, {})


def test_a_branch_that_is_given_up_has_followed_nothing(writer: Writer) -> None:
    writer.build(None)
    before = writer.followed()
    load(writer.lake, 200)
    writer.build(FIRST, "run/1")
    assert (writer.followed("run/1") == before, writer.followed()) == (False, before)
    writer.lake.table(SILVER.name).discard("run/1")
    assert writer.followed() == before


def test_a_build_that_fails_moves_nothing(writer: Writer) -> None:
    writer.build(None)
    before = writer.followed()
    load(writer.lake, 200)
    register(writer.duck, writer.lake)
    with pytest.raises(CommitError, match="outside the window"):
        write_model(
            writer.lake,
            writer.duck,
            SILVER,
            f"select day, n from {SOURCE.name}",
            window=FIRST,
            branch="main",
            run_key="wide",
            edges=EDGES,
        )
    assert writer.followed() == before


def test_a_table_without_edges_follows_nothing(writer: Writer) -> None:
    writer.build(FIRST, edges=())
    assert writer.followed() is None
