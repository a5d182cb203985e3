"""A build of many days goes slice by slice: each is told when it is there, and what is there survives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_tests.orchestration.days.killed_slices import KEY, SELECT, WINDOW, slices
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.runs import RunReport
from lakehouse.settings import Transform
from lakehouse.tables import TableName, Window
from lakehouse.transform.slices import Slice, slices_of

if TYPE_CHECKING:
    from conftest import Till

ROOT = Path(__file__).parents[3]
SILVER, GOLD = TableName.parse("silver.receipts"), TableName.parse("gold.takings")
DAYS = [*WINDOW.days]


@given(st.dates(date(2020, 1, 1), date(2030, 1, 1)), st.integers(1, 800), st.integers(1, 400))
def test_slices_are_the_days_of_the_window_each_once_in_order(start: date, days: int, at_once: int) -> None:
    window = Window(start, start + timedelta(days=days))
    made = [*slices_of(window, at_once)]
    assert [day for one in made for day in one.days] == [*window.days]
    lengths = [len([*one.days]) for one in made]
    assert set(lengths[:-1]) <= {at_once}
    assert 0 < lengths[-1] <= at_once


@pytest.fixture(scope="module")
def stopped(till: Till) -> subprocess.CompletedProcess[str]:
    """A build of five days, killed in its second slice of two days."""
    till.receive({number: (day, 100) for number, day in enumerate(DAYS)})
    given = [str(till.settings.project), till.settings.catalog.uri.get_secret_value()]
    program = [sys.executable, "-m", "assets_tests.orchestration.days.killed_slices", *given]
    return subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_slices_that_were_done_when_it_was_killed_are_not_done_again(
    till: Till, stopped: subprocess.CompletedProcess[str]
) -> None:
    ended = [line for line in stopped.stdout.splitlines() if line.startswith("[")]
    assert (stopped.returncode, ended) == (-signal.SIGKILL, ["[2026-01-01, 2026-01-03)"]), stopped.stderr
    assert till.takings() == dict.fromkeys(DAYS[:2], 100)
    before = till.lake.table(GOLD).snapshots()[0].id

    again = slices(till.settings.project, till.settings.catalog.uri.get_secret_value())
    made = [one for one in again.run(SELECT) if isinstance(one, Slice)]

    assert [one.found_done for one in made] == [True, False, False]
    assert [one.windows[GOLD] for one in made] == [(one.window,) for one in made]
    assert till.takings() == dict.fromkeys(DAYS, 100)
    keys = Counter(snapshot.run_key for snapshot in till.lake.table(GOLD).snapshots())
    assert [keys[f"{KEY}:{one.window.start}..{one.window.end}"] for one in made if one.window] == [1, 1, 1]
    # The finished slice was not even read again.
    assert before in {snapshot.id for snapshot in till.lake.table(GOLD).snapshots()}
    # A branch that the killed process left was found again by its run, and has gone with it.
    assert (till.lake.table(SILVER).branches(), till.lake.table(GOLD).branches()) == ((), ())


@pytest.fixture(scope="module")
def run(till: Till, stopped: subprocess.CompletedProcess[str]) -> RunReport:
    """A run of Dagster's of the same five days; on the fourth a receipt is bad."""
    assert stopped.returncode
    till.receive({10: (DAYS[3], 20_000), 11: (DAYS[0], 7)})
    settings = till.settings.model_copy(update={"transform": Transform(days_at_once=2)})
    return till.run(DAYS[0], DAYS[-1], settings)


def test_a_run_tells_each_day_once_and_only_the_bad_one_is_failed(till: Till, run: RunReport) -> None:
    assert not run.success
    good = [day for day in DAYS if day != DAYS[3]]
    for name in (SILVER, GOLD):
        assert [day for day, _ in till.told(run.run_id, name)] == good
        assert till.states(name, DAYS[0], DAYS[-1]) == {**dict.fromkeys(good, "MATERIALIZED"), DAYS[3]: "FAILED"}
    assert till.takings() == {**dict.fromkeys(DAYS, 100), DAYS[0]: 107}


def test_checks_are_told_once_for_all_slices_and_the_worst_counts(run: RunReport) -> None:
    told = Counter((str(name), check) for name, check, _, _ in run.checks)
    assert set(told.values()) == {1}
    found = {check: passed for name, check, passed, _ in run.checks if name == SILVER}
    # The bad receipt is in the second slice of three, the odd amount in all of them since the first.
    assert found == {**found, "no_large_amount": False, "no_odd_amount": False, "no_debt": True}


def test_the_log_says_how_far_the_build_has_come(till: Till, run: RunReport) -> None:
    with open_instance(till.settings) as instance:
        said = [entry.user_message for entry in instance.all_logs(run.run_id) if "slices" in entry.user_message]
    assert ["of 3 slices" in line for line in said] == [True, True, True]
    assert "1 of 3 slices, 2 of 5 days, about" in said[0]
    assert "[2026-01-03, 2026-01-05): 1 of its days held. 2 of 3 slices, 4 of 5 days" in said[1]
    assert said[2].endswith("3 of 3 slices, 5 of 5 days")
