"""Late data, corrections, upkeep, restores, bad days and kills, in any order: what is out of date is repaired.

The model knows what each table must hold, and which of its days something has reached. Whenever it is asked which days
are out of date, the answer must have every day that is wrong, and none that nothing has reached; whatever was built
must leave other days' files alone. Each run ends at rest: asked until nothing is out of date, every table is what it
would be if it were computed anew from all that has come from the source.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from assets_tests.changes.machine.everybody import Everybody


@pytest.fixture
def explore(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[[int, int], None]:
    """explore(examples, steps): let everybody act; tell what was done."""

    def run(examples: int, steps: int) -> None:
        Everybody.done.clear()
        run_state_machine_as_test(
            type("Changes", (Everybody,), {"folder": tmp_path / "lake"}),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                # A failure is shown as it was found: making it smaller takes longer than all else.
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
                print_blob=True,
            ),
        )
        with capfd.disabled():
            told = ", ".join(f"{what} {times}" for what, times in sorted(Everybody.done.items()))
            sys.stderr.write(f"\nthe state machine of changes: {told}\n")
        assert Everybody.done["examples"] >= examples

    return run


def test_no_order_of_steps_leaves_a_day_wrong(explore: Callable[[int, int], None]) -> None:
    explore(6, 15)


@pytest.mark.services
def test_no_order_of_steps_leaves_a_day_wrong_at_length(explore: Callable[[int, int], None]) -> None:
    explore(30, 20)
