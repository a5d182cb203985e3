"""Only the very snapshot that was judged becomes visible; real tables, and findings as a gate would give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.tables import Column, Severity, Strategy, Table, TableName
from lakehouse.transform.publish import publish_models

BRANCH = "run/1"
NAME = TableName.parse("silver.numbers")


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


@pytest.fixture
def numbers(lake: Lake) -> LakeTable:
    """A table with 1 on main, and a branch that appends 2."""
    table = lake.create(Table(NAME, "test", "", (Column("n", "long"),), Path("numbers.yaml"), strategy=Strategy.APPEND))
    table.append(rows(1), run_key="0")
    table.create_branch(BRANCH)
    table.append(rows(2), run_key="1", branch=BRANCH)
    return table


def values(table: LakeTable, at: str = "main") -> list[int]:
    return sorted(table.scan(at=at).read_all()["n"].to_pylist())


def head(table: LakeTable) -> int:
    return table.snapshots(BRANCH)[0].id


def judge(table: LakeTable, seen: list[list[int]], most: int) -> Callable[[TableName], tuple[Finding, ...]]:
    """At most so many rows: an error when there are more. Keeps what it saw."""

    def judged(name: TableName) -> tuple[Finding, ...]:
        seen.append(values(table, BRANCH))
        outcome = Outcome.PASSED if len(seen[-1]) <= most else Outcome.FAILED
        observed = f"{len(seen[-1])} rows"
        return (Finding(name, "few", Severity.ERROR, outcome, "", observed, branch=BRANCH, snapshot_id=head(table)),)

    return judged


def test_what_was_judged_is_published(lake: Lake, numbers: LakeTable) -> None:
    done = publish_models(lake, [NAME], BRANCH, {NAME: frozenset({head(numbers)})})

    assert (done.conflicts, done.refused) == ({}, {})
    assert values(numbers) == [1, 2]


def test_a_branch_that_was_written_to_after_its_audit_is_kept(lake: Lake, numbers: LakeTable) -> None:
    judged = head(numbers)
    numbers.append(rows(3), run_key="other", branch=BRANCH)

    done = publish_models(lake, [NAME], BRANCH, {NAME: frozenset({judged})})

    assert isinstance(done.conflicts[NAME], PublishConflict)
    assert str(judged) in str(done.conflicts[NAME])
    assert (values(numbers), numbers.branches()) == ([1], (BRANCH,))


def test_two_audits_that_saw_two_snapshots_are_no_audit(lake: Lake, numbers: LakeTable) -> None:
    before = head(numbers)
    numbers.append(rows(3), run_key="other", branch=BRANCH)

    done = publish_models(lake, [NAME], BRANCH, {NAME: frozenset({before, head(numbers)})})

    assert set(done.conflicts) == {NAME}
    assert values(numbers) == [1]


def test_appends_on_top_of_a_main_that_moved_are_judged_again(lake: Lake, numbers: LakeTable) -> None:
    judged = head(numbers)
    numbers.append(rows(3), run_key="other")
    seen: list[list[int]] = []

    done = publish_models(lake, [NAME], BRANCH, {NAME: frozenset({judged})}, judge(numbers, seen, most=3))

    assert seen == [[1, 2, 3]]
    assert (done.conflicts, done.refused) == ({}, {})
    assert values(numbers) == [1, 2, 3]


def test_appends_that_break_a_rule_on_top_of_what_main_is_now_stay_on_their_branch(
    lake: Lake, numbers: LakeTable
) -> None:
    judged = head(numbers)
    numbers.append(rows(3), run_key="other")

    done = publish_models(lake, [NAME], BRANCH, {NAME: frozenset({judged})}, judge(numbers, [], most=2))

    assert "rule few of silver.numbers failed: 3 rows" in str(done.refused[NAME])
    assert not done.commits
    assert (values(numbers), values(numbers, BRANCH), numbers.branches()) == ([1, 3], [1, 2, 3], (BRANCH,))


def test_a_table_without_rules_is_not_put_on_top_of_a_main_that_moved(lake: Lake, numbers: LakeTable) -> None:
    numbers.append(rows(3), run_key="other")

    done = publish_models(lake, [NAME], BRANCH, {}, judge(numbers, [], most=9))

    assert set(done.conflicts) == {NAME}
    assert values(numbers) == [1, 3]
