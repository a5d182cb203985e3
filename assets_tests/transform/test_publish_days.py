"""What is left without bad days is judged before anybody sees it; real tables, findings as a gate would give them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from assets_tests.transform.killed_days import BAD, CHAIN, DAYS, GOLD, SILVER, SOURCE, load, prepare, publish, write
from lakehouse.changes.consumed import consumed
from lakehouse.iceberg import Lake
from lakehouse.quality.finding import Finding, Outcome
from lakehouse.settings import Settings
from lakehouse.tables import Severity, Table, TableName

Made = tuple[Settings, Lake, str]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Three days on main, and all of them anew on a branch, of silver and of gold, which reads it."""
    return prepare(tmp_path / "lake")


def days(lake: Lake, table: Table, at: str = "main") -> dict[date, int]:
    return {row["day"]: row["n"] for row in lake.table(table.name).scan(at=at).read_all().to_pylist()}


def heads(lake: Lake) -> list[int]:
    return [lake.table(table.name).snapshots()[0].id for table, _ in CHAIN]


def test_what_is_shown_was_judged_as_it_is_shown(made: Made) -> None:
    settings, lake, branch = made
    seen: dict[TableName, tuple[str, dict[date, int], int]] = {}

    def judge(name: TableName, at: str) -> tuple[Finding, ...]:
        table = lake.table(name)
        content = {row["day"]: row["n"] for row in table.scan(at=at).read_all().to_pylist()}
        seen[name] = (at, content, table.snapshots(at)[0].id)
        return (Finding(name, "r", Severity.ERROR, Outcome.PASSED, "", "", branch=at, snapshot_id=seen[name][2]),)

    publication = publish(settings, lake, branch, judge=judge)

    assert set(publication.commits) == {SILVER.name, GOLD.name}
    for name, (at, content, snapshot) in seen.items():
        table = SILVER if name == SILVER.name else GOLD
        assert at == f"{branch}-good"
        assert (content, [snapshot]) == (days(lake, table), [lake.table(name).snapshots()[0].id])
    assert days(lake, SILVER) == {DAYS[0]: 2000, BAD: 1010, DAYS[2]: 2020}
    assert days(lake, SILVER, branch)[BAD] == 2010


@pytest.mark.parametrize(("outcome", "severity"), [(Outcome.FAILED, Severity.ERROR), (Outcome.ERROR, Severity.ERROR)])
def test_good_days_that_break_a_rule_without_the_bad_ones_are_held_and_so_is_what_reads_them(
    made: Made, outcome: Outcome, severity: Severity
) -> None:
    settings, lake, branch = made
    before = heads(lake)

    def judge(name: TableName, at: str) -> tuple[Finding, ...]:
        return (Finding(name, "whole", severity, outcome, "", "no", branch=at),) if name == SILVER.name else ()

    publication = publish(settings, lake, branch, judge=judge)

    assert (publication.commits, publication.conflicts) == ({}, {})
    assert "breaks its contract without the days that are held, too" in str(publication.refused[SILVER.name])
    assert "reads silver.b, which is held" in str(publication.refused[GOLD.name])
    assert heads(lake) == before
    assert {lake.table(table.name).branches() for table, _ in CHAIN} == {(branch,)}


def test_good_days_that_were_written_to_while_they_were_judged_are_not_shown(made: Made) -> None:
    settings, lake, branch = made
    before = heads(lake)

    def judge(name: TableName, at: str) -> tuple[Finding, ...]:
        table = lake.table(name)
        snapshot = table.snapshots(at)[0].id
        table.append(table.schema().empty_table(), run_key="late", branch=at, progress={"other": {"n": 1}})
        return (Finding(name, "r", Severity.ERROR, Outcome.PASSED, "", "", branch=at, snapshot_id=snapshot),)

    publication = publish(settings, lake, branch, judge=judge)

    assert set(publication.conflicts) == {SILVER.name, GOLD.name}
    assert heads(lake) == before


def test_a_day_that_another_writer_changed_on_main_is_a_conflict(made: Made) -> None:
    settings, lake, branch = made
    stored = lake.table(SILVER.name)
    stored.delete(f"day = '{DAYS[0]}'", run_key="other")
    publication = publish(settings, lake, branch)
    assert set(publication.conflicts) == {SILVER.name, GOLD.name}
    assert str(DAYS[0]) in str(publication.conflicts[SILVER.name])
    assert days(lake, GOLD) == {day: 10_000 + 100 * number for number, day in enumerate(DAYS)}


def test_the_bad_day_is_out_of_date_until_it_is_published_too(made: Made) -> None:
    settings, lake, branch = made
    publish(settings, lake, branch)
    assert list(consumed(lake, SILVER.name)[SOURCE.name].pending) == [BAD]

    load(lake, 300)
    again = write(settings, lake, "third")
    publish(settings, lake, again, bad=())

    assert days(lake, GOLD) == {day: (300 + number) * 100 for number, day in enumerate(DAYS)}
    for table, parent in CHAIN:
        assert consumed(lake, table.name)[parent.name].pending == {}
        # What has no bad days leaves no branch; that of the earlier run stays for whoever looks into it.
        assert lake.table(table.name).branches() == (branch,)
