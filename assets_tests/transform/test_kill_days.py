"""A process killed at each swap while it publishes the good days of a chain: done again, all is there once.

Again by the same run, which finds its branches, and by another one, as Dagster starts it, which does not know them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from assets_tests.iceberg.killed import END, ROOT
from assets_tests.transform.killed_days import BAD, CHAIN, DAYS, GOLD, SILVER, SWAPS, publish, settings_of, write
from lakehouse.changes.consumed import consumed
from lakehouse.iceberg import Lake, read_by
from lakehouse.tables import Table

OLD, NEW = 100, 200


@dataclass(frozen=True)
class Killed:
    """The folder in which each case has its lake, and how each ended."""

    state: Path
    cases: dict[str, dict[str, Any]]

    def lake(self, case: str) -> Lake:
        return Lake.open(settings_of(self.state / case.replace(" ", "-")))


def rows(lake: Lake, table: Table) -> list[tuple[date, int]]:
    return sorted((row["day"], row["n"]) for row in lake.table(table.name).scan().read_all().to_pylist())


def expected(table: Table, load_of: dict[date, int]) -> list[tuple[date, int]]:
    factor = 10 if table is SILVER else 100
    return [(day, (load_of[day] + number) * factor) for number, day in enumerate(DAYS)]


GOOD_ONES = {day: OLD if day == BAD else NEW for day in DAYS}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    state = tmp_path_factory.mktemp("killed")
    command = [sys.executable, "-m", "assets_tests.transform.killed_days", str(state)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ})
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return Killed(state, {case["case"]: {**case, "stderr": done.stderr} for case in told})


def test_without_a_kill_the_good_days_follow_what_main_shows(killed: Killed) -> None:
    case = killed.cases[END]
    swaps = [step for step in case["reached"] if step.startswith("swap")]
    assert (case["code"], tuple(swaps)) == (0, SWAPS), case["stderr"]
    check(killed.lake(END))


def check(lake: Lake) -> None:
    """Good days are new, the bad one is as it was, each row once; and every table says of itself what is so."""
    for table, parent in CHAIN:
        assert rows(lake, table) == expected(table, GOOD_ONES)
        head = lake.table(parent.name).snapshots()[0].id
        assert read_by(lake, table.name)[parent.name] == head
        assert consumed(lake, table.name)[parent.name].snapshot_id == head
    assert list(consumed(lake, SILVER.name)[CHAIN[0][1].name].pending) == [BAD]
    assert consumed(lake, GOLD.name)[SILVER.name].pending == {}


@pytest.mark.parametrize("again", ["the same run", "another run"])
@pytest.mark.parametrize("step", SWAPS)
def test_after_a_kill_the_good_days_are_published_once(killed: Killed, step: str, again: str) -> None:
    case = killed.cases[step]
    assert case["code"] == -signal.SIGKILL, case["stderr"]
    settings, lake = settings_of(killed.state / step.replace(" ", "-")), killed.lake(step)
    # Of each table main shows all good days or none, and never a child without its parent.
    shown = [rows(lake, table) == expected(table, GOOD_ONES) for table, _ in CHAIN]
    if again == "the same run":
        assert shown == [SWAPS.index(step) >= 2, SWAPS.index(step) >= 6]
        branch = "run/second"
    else:
        branch = write(settings, lake, f"third-{step}")

    publication = publish(settings, lake, branch)

    assert (publication.conflicts, publication.refused) == ({}, {})
    check(lake)
    assert not {name for table, _ in CHAIN for name in lake.table(table.name).branches() if name == f"{branch}-good"}
