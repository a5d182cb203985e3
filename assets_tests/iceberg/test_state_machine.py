"""Two writers, an auditor, a restorer, another program and kills, in any order, against a model of what each may do.

The model is a graph of immutable states, each a set of files; what a step must do to it is said in plain Python. After
every step our scan, DuckDB and stock PyIceberg must agree with it: on the rows of every ref that moved, on its files,
its history of operations and run keys, on progress by scope; and every other ref must stand where it stood.
"""

from __future__ import annotations

import pytest

from assets_tests.exploring import explore
from assets_tests.iceberg.machine.auditor import Auditor
from assets_tests.iceberg.machine.restorer import Restorer
from assets_tests.iceberg.machine.states import Where
from assets_tests.iceberg.machine.writers import Writers


class Protocol(Writers, Auditor, Restorer):
    """Everybody at once."""


def test_a_branch_of_another_programs_rows_does_not_take_mains_progress_for_its_own() -> None:
    machine = Protocol()
    machine.foreign_write("append", 0, [(1, 1)], Where("all", 1, 1))
    machine.look()
    machine.create_branch(0, None)
    machine.look()
    machine.carry_out(machine.new_run("append", 0, [(2, 1)], Where("all", 1, 1), 0, moves=True, fence="right"))
    machine.look()
    machine.teardown()


def test_no_order_of_steps_loses_or_doubles_a_row(capfd: pytest.CaptureFixture[str]) -> None:
    explore(Protocol, 12, 20, capfd, smaller=True)
    assert Protocol.done["steps"] >= 12


@pytest.mark.services
def test_no_order_of_steps_loses_or_doubles_a_row_at_length(capfd: pytest.CaptureFixture[str]) -> None:
    explore(Protocol, 200, 30, capfd, smaller=True)
