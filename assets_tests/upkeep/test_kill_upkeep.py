"""A process killed at each step of upkeep: readers see the same rows, and the next upkeep leaves nothing over.

What is done, and its steps, is `killed_upkeep.py`, which runs as a child: every case is a process that dies by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.killed import BEGIN, END
from assets_tests.upkeep.killed_upkeep import ROOT, SAFE_AGE, Place, works
from assets_tests.upkeep.machine.storage import Files, Reached
from lakehouse.iceberg import Lake
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Catalog, load_settings

STEPS = {
    "compact": 11,
    "expire": 10,
    "sweep": 7,
}
SHOWN = [0, 1, 2, 3]


@dataclass(frozen=True)
class Killed:
    """The lake in which every case has run; and how each ended, by work and case."""

    place: Place
    stock: SqlCatalog
    cases: dict[tuple[str, str], dict[str, Any]]

    def stored(self, work: str, case: str) -> IcebergTable:
        return self.stock.load_table(self.place.table(work, case).name.key)

    def unnamed(self, work: str, case: str) -> int:
        """How many files nothing names. None that is named is missing."""
        table = self.stored(work, case)
        named, there = Reached().of_table(table), Files(table.location()).listed().keys()
        assert named <= there
        return len(there - named)

    def rows(self, work: str, case: str) -> list[list[int]]:
        """The order ids of every snapshot, oldest first, by stock PyIceberg; of the newest also by our scan."""
        table = self.stored(work, case)
        shown = [
            sorted(table.scan(snapshot_id=one.snapshot_id).to_arrow()["order_id"].to_pylist())
            for one in table.metadata.snapshots
        ]
        assert sorted(self.place.table(work, case).scan().read_all()["order_id"].to_pylist()) == SHOWN
        return shown


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Every case, run once by one child."""
    state = tmp_path_factory.mktemp("killed")
    catalog = Catalog(name=uuid.uuid4().hex, uri=f"sqlite:///{state}/catalog.db")
    if request.param == "postgres":
        server: EmbeddedPostgres = request.getfixturevalue("postgres")
        catalog = Catalog(name=catalog.name, uri=server.uri("iceberg", driver="postgresql+psycopg"))
    settings = load_settings(ROOT, state=str(state), catalog=catalog.model_dump())
    uri = catalog.uri.get_secret_value()
    Lake.open(settings)
    given = [str(state), settings.warehouse, catalog.name, uri]
    # One manifest after another.
    alone = {**os.environ, "PYICEBERG_MAX_WORKERS": "1"}
    command = [sys.executable, "-m", "assets_tests.upkeep.killed_upkeep", *given]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=alone)
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    cases = {(case["work"], case["case"]): {**case, "stderr": done.stderr} for case in told}
    stock = SqlCatalog(catalog.name, uri=uri, warehouse=settings.warehouse)
    yield Killed(Place(settings), stock, cases)
    stock.engine.dispose()


def named(work: str, killed: Killed) -> tuple[str, ...]:
    return works(killed.place)[work].steps


def upkeep_in_peace(killed: Killed, work: str, case: str) -> None:
    """All of it, and the sweeps of the weeks after."""
    place, table = killed.place, killed.place.table(work, case)
    place.compact(table, _nothing)
    place.expire(table, _nothing)
    for number in (6, 8):
        place.sweep(table, _nothing, after=number * SAFE_AGE)


def _nothing(_step: str) -> None:
    """Nobody listens."""


@pytest.mark.parametrize("work", STEPS)
def test_upkeep_has_the_steps_it_names(killed: Killed, work: str) -> None:
    """Not killed, it says exactly these; so each of them is one at which it is killed below."""
    case = killed.cases[work, END]
    assert (case["code"], tuple(case["reached"])) == (0, named(work, killed)), case["stderr"]
    assert len(case["reached"]) == STEPS[work]


@pytest.mark.parametrize(
    ("work", "number"), [(work, number) for work, count in STEPS.items() for number in range(count)]
)
def test_after_a_kill_all_rows_are_there_and_the_next_upkeep_leaves_nothing_over(
    killed: Killed, work: str, number: int
) -> None:
    steps = named(work, killed)
    step, reached = steps[number], list(steps[: number + 1])
    case = killed.cases[work, step]
    assert (case["code"], case["reached"]) == (-signal.SIGKILL, reached), case["stderr"]

    # Whatever snapshot a reader takes shows the rows that it has shown before; no snapshot goes but by the swap.
    done = END if "swap 1" in reached and work != "sweep" else BEGIN
    assert killed.rows(work, step) == killed.rows(work, done)
    told = [killed.place.table(work, of).progress("shop") for of in (step, done)]
    assert told[0] == told[1]
    assert killed.unnamed(work, step) >= killed.unnamed(work, END)

    upkeep_in_peace(killed, work, step)
    assert killed.rows(work, step) == [SHOWN]
    assert killed.unnamed(work, step) == 0
    assert len(killed.place.table(work, step).live_files()) == 2
    # Each of the keys has gone with its snapshot, and still counts as used.
    again = killed.place.table(work, step)
    assert all(again.append(again.scan().read_all(), run_key=f"seed {run}").already_done for run in range(2))
