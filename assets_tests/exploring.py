"""Let a state machine act in any order, and tell what was done: the run that each of the three machines is given.

What a machine may do, and what must hold after each step, is in the folder `machine` of its own area.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

# Making an example of thirty steps smaller takes longer than all else.
_AS_FOUND = {Phase.explicit, Phase.reuse, Phase.generate}


class Counted(RuleBasedStateMachine):
    """A machine that counts what it does; as `examples`, the lives that it began."""

    done: ClassVar[Counter[str]]


def explore(
    machine: type[Counted], examples: int, steps: int, capfd: pytest.CaptureFixture[str], *, smaller: bool = False
) -> None:
    """Let it live so many lives of so many steps; a failure is shown as it was found, or made `smaller` first.

    Raises what a step raised, and AssertionError where it lived fewer lives.
    """
    machine.done.clear()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=tuple(_AS_FOUND | ({Phase.target, Phase.shrink} if smaller else set())),
            print_blob=True,
        ),
    )
    with capfd.disabled():
        told = ", ".join(f"{what} {times}" for what, times in sorted(machine.done.items()))
        sys.stderr.write(f"\nstate machine {machine.__name__}: {told}\n")
    assert machine.done["examples"] >= examples
