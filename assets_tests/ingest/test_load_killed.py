"""A load killed at each of its steps: the next one brings each row once, and says of every one where it went.

What is loaded, and its steps, is `killed_load.py`, which runs as a child: every case is a process that dies by SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from assets_tests.ingest.killed_load import CASES, DAYS, ROOT, contract, loading, settings_of
from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows, write
from lakehouse.iceberg import Lake
from lakehouse.ledger import LOADS, recorded_loads

CHILD = "assets_tests.ingest.killed_load"


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, str], dict[str, object]]]:
    """Every case, run once by one child."""
    folder = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-m", CHILD, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return folder, {(one["work"], one["case"]): one for one in told}


@pytest.mark.parametrize(("kind", "step"), CASES)
def test_what_was_killed_is_loaded_once(
    killed: tuple[Path, dict[tuple[str, str], dict[str, object]]], kind: str, step: str
) -> None:
    folder, cases = killed
    case = cases[kind, step]
    assert (case["code"], case["reached"][-1:]) == (-signal.SIGKILL, [step])  # type: ignore[index]  # a list of texts
    settings = settings_of(folder, kind, step)
    lake, table = Lake.open(settings), contract(kind)

    write(settings, "2026-01-03.jsonl", paid("P5"), paid(None))
    results = [loading(settings, kind), loading(settings, kind)]
    if kind == "again":
        results += [loading(settings, kind, window=DAYS), loading(settings, kind)]
    assert all(map(balanced, results))
    assert ids(lake, table) == ["P1", "P2", "P3", "P4", "P5"]
    assert len(rows(lake, QUARANTINE)) == 3
    assert lake.table(table.name).branches() == ()
    # Each load that published is told once, whenever it died, with a balance that is true.
    made = [one.id for one in lake.table(table.name).snapshots() if "lakehouse.rows-read" in one.summary]
    told = recorded_loads(lake, limit=99)
    assert Counter(one.snapshot_id for one in told) == Counter(made)
    assert {one.difference for one in told} == {0}


def test_the_ledger_that_was_dropped_is_told_again_by_the_snapshots(
    killed: tuple[Path, dict[tuple[str, str], dict[str, object]]],
) -> None:
    folder, _ = killed
    settings = settings_of(folder, "again", "told 1")
    lake = Lake.open(settings)
    loading(settings, "again")
    before = recorded_loads(lake, limit=99)
    assert len(before) > 1
    lake.drop(LOADS.name)
    # The next load of the table tells all that its snapshots remember, though it brings nothing itself.
    assert loading(settings, "again").commit is None
    assert recorded_loads(lake, limit=99) == before
