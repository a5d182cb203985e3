"""Late data, corrections, upkeep, restores, bad days and kills, in any order: what is out of date is repaired.

The model knows what each table must hold, and which of its days something has reached. Whenever it is asked which days
are out of date, the answer must have every day that is wrong, and none that nothing has reached; whatever was built
must leave other days' files alone. Each run ends at rest: asked until nothing is out of date, every table is what it
would be if it were computed anew from all that has come from the source.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assets_tests.changes.machine.everybody import Everybody
from assets_tests.exploring import explore


@pytest.fixture
def explore_changes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[int, int], None]:
    """explore_changes(examples, steps): let everybody act; tell what was done."""
    machine = type("Changes", (Everybody,), {"folder": tmp_path / "lake"})
    return lambda examples, steps: explore(machine, examples, steps, capfd)


def test_no_order_of_steps_leaves_a_day_wrong(explore_changes: Callable[[int, int], None]) -> None:
    explore_changes(6, 15)


@pytest.mark.services
def test_no_order_of_steps_leaves_a_day_wrong_at_length(explore_changes: Callable[[int, int], None]) -> None:
    explore_changes(30, 20)
