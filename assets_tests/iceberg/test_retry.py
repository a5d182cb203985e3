"""Backoff: how pauses grow, when they end, and that a commit keeps to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count, islice

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException

from lakehouse.errors import CommitConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.retry import Backoff
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]


@pytest.fixture
def table(lake: Lake, orders: Table) -> LakeTable:
    return lake.create(orders)


def longest(_low: float, high: float) -> float:
    return high


def test_pauses_double_up_to_the_most() -> None:
    pauses = Backoff(first_s=1, most_s=5, budget_s=1).pauses(clock=lambda: 0, draw=longest)
    assert list(islice(pauses, 5)) == [1, 2, 4, 5, 5]


def test_jitter_is_full() -> None:
    low: list[float] = []
    pauses = Backoff(first_s=1, most_s=4).pauses(clock=lambda: 0, draw=lambda start, _end: low.append(start) or start)
    assert list(islice(pauses, 3)) == [0, 0, 0]
    assert low == [0, 0, 0]


@given(st.floats(0.001, 10), st.floats(0.001, 10), st.floats(0, 100))
def test_no_pause_is_longer_than_the_most_and_the_budget_ends_them(first: float, most: float, budget: float) -> None:
    seconds = count()
    pauses = list(Backoff(first, most, budget).pauses(clock=lambda: next(seconds)))
    assert len(pauses) <= budget
    assert all(0 <= pause <= most for pause in pauses)


def test_the_tables_properties_are_heard() -> None:
    given_properties = {
        "commit.retry.min-wait-ms": "7",
        "commit.retry.max-wait-ms": "70",
        "commit.retry.total-timeout-ms": "700",
        "commit.retry.num-retries": "0",
    }
    assert Backoff.of(given_properties) == Backoff(0.007, 0.07, 0.7)
    assert Backoff.of({}) == Backoff()
    assert Backoff.of({"commit.retry.min-wait-ms": "soon"}) == Backoff()


@pytest.fixture
def manifests(settings: Settings) -> Callable[[], int]:
    """How many manifests and manifest lists are in the warehouse."""
    return lambda: len(list((settings.state / "warehouse").rglob("*.avro")))


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """refusing(n): the catalog refuses n commits; the list grows by one for each that it sees."""
    honest = SqlCatalog.commit_table

    def start(times: int) -> list[int]:
        seen: list[int] = []

        def commit(self: SqlCatalog, *arguments: object) -> object:
            seen.append(len(seen))
            if len(seen) <= times:
                raise CommitFailedException("somebody was faster")
            return honest(self, *arguments)  # type: ignore[arg-type]  # as they came

        monkeypatch.setattr(SqlCatalog, "commit_table", commit)
        return seen

    return start


def test_retries_are_counted_and_leave_no_manifests(
    table: LakeTable, rows: Rows, manifests: Callable[[], int], refusing: Callable[[int], list[int]]
) -> None:
    refusing(3)
    assert table.append(rows([1]), run_key="a").retries == 3
    # One manifest and one list, which the snapshot names.
    assert manifests() == 2
    assert table.scan().read_all()["order_id"].to_pylist() == [1]


def test_a_spent_budget_is_a_conflict_that_leaves_no_manifests(
    lake: Lake,
    table: LakeTable,
    rows: Rows,
    manifests: Callable[[], int],
    refusing: Callable[[int], list[int]],
) -> None:
    iceberg = lake._catalog.load_table(table.name.key)  # noqa: SLF001  (a property of no contract)
    with iceberg.transaction() as transaction:
        transaction.set_properties({"commit.retry.total-timeout-ms": "0"})
    seen = refusing(1000)
    with pytest.raises(CommitConflict, match="faster 1 times"):
        table.append(rows([1]), run_key="a")
    assert len(seen) == 1
    assert manifests() == 0


def test_an_attempt_that_landed_late_keeps_its_manifests(
    table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, not there when looked up, and there after all when the next attempt is refused."""
    honest, load = SqlCatalog.commit_table, SqlCatalog.load_table
    late: list[tuple[object, ...]] = []

    def commit(_self: SqlCatalog, *arguments: object) -> object:
        if not late:
            late.append(arguments)
            raise CommitFailedException("late")
        monkeypatch.setattr(SqlCatalog, "load_table", looking)
        raise CommitFailedException("once more")

    def looking(self: SqlCatalog, identifier: object) -> object:
        # The look-up after the second refusal still sees nothing; then the first one lands.
        found = load(self, identifier)  # type: ignore[arg-type]  # as it came
        monkeypatch.setattr(SqlCatalog, "load_table", load)
        honest(self, *late[0])  # type: ignore[arg-type]  # as they came
        return found

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)
    commit_made = table.append(rows([1, 2]), run_key="a")
    monkeypatch.undo()
    assert commit_made.retries == 2
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [1, 2]
    assert len(table.snapshots()) == 1


def test_every_attempt_reads_the_table_anew(table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four writers come between; the fifth attempt builds on all of them."""
    honest = SqlCatalog.commit_table
    others: Iterator[int] = iter(range(4))

    def commit(self: SqlCatalog, *arguments: object) -> object:
        monkeypatch.setattr(SqlCatalog, "commit_table", honest)
        if (number := next(others, None)) is not None:
            table.append(rows([100 + number]), run_key=f"other {number}", progress={f"s{number}": {"w": number}})
            monkeypatch.setattr(SqlCatalog, "commit_table", commit)
        return honest(self, *arguments)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(SqlCatalog, "commit_table", commit)
    made = table.append(rows([1]), run_key="a", progress={"mine": {"w": 1}})
    assert made.retries == 4
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [1, 100, 101, 102, 103]
    assert [table.progress(f"s{number}") for number in range(4)] == [{"w": number} for number in range(4)]
    assert table.progress("mine") == {"w": 1}
