"""Writers, an auditor, a restorer, a follower, an evolver, another program and kills, in any order, against a model.

The model is a graph of immutable states, each a set of files, and of delete files that hide rows of them; what a step
must do to it, writes by key among them, is said in plain Python. After every step our scan, DuckDB and stock PyIceberg
must agree with it: on the rows of every ref that moved, on its files, its history of operations and run keys, on
progress by scope and deleted keys; and every other ref must stand where it stood.
"""

from __future__ import annotations

import pytest

from assets_tests.exploring import explore
from assets_tests.iceberg.machine.auditor import Auditor
from assets_tests.iceberg.machine.evolver import Evolver
from assets_tests.iceberg.machine.follower import Follower
from assets_tests.iceberg.machine.restorer import Restorer
from assets_tests.iceberg.machine.states import Where
from assets_tests.iceberg.machine.writers import Writers
from lakehouse.iceberg import Way

HAPPENED = {
    *(f"merge by {key}" for key in ("id", "id and day", "sequence")),
    *(f"merged {what}" for what in ("updated", "inserted", "deleted", "outdated")),
    *(f"replaced keys {what}" for what in ("updated", "inserted")),
    *(f"versions {what}" for what in ("updated", "inserted", "deleted")),
    *(f"files by {way}" for way in Way),
    *(f"evolve: {what}" for what in ("add", "rename", "promote", "partitions")),
    "evolved in history",
    "evolved in merge by sequence",
    "merge of several rounds",
    "changes",
    "changes: QueryError",
}
"""What must have happened, at length. Rarer things have tests of their own: chance may leave them out."""


class Protocol(Writers, Auditor, Restorer, Follower, Evolver):
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


def test_a_branch_of_merges_is_not_put_on_top_of_a_main_that_moved() -> None:
    machine, where = Protocol(), Where("all", 1, 1)
    machine.foreign_write("append", 0, [(1, 1), (2, 1)], where)
    machine.look()
    machine.create_branch(0, None)
    for pick, effect, row in ((1, "merge", (2, 1)), (0, "append", (2, 1))):
        run = machine.new_run(effect, pick, [row], where, 0, moves=False, fence="none", gone=[False])
        machine.carry_out(run)
        machine.look()
    machine.publish(0, "passes", None, None, foreign=False)
    machine.look()
    assert machine.model.main.rows == [(1, 1), (2, 1), (2, 1)]
    assert "run/a" in machine.model.refs
    machine.teardown()


def test_no_order_of_steps_loses_or_doubles_a_row(capfd: pytest.CaptureFixture[str]) -> None:
    explore(Protocol, 12, 20, capfd, smaller=True)
    assert Protocol.done["steps"] >= 12


@pytest.mark.services
def test_no_order_of_steps_loses_or_doubles_a_row_at_length(capfd: pytest.CaptureFixture[str]) -> None:
    explore(Protocol, 200, 30, capfd, smaller=True)
    assert not {what for what in HAPPENED if not Protocol.done[what]}
