"""Four processes append and overwrite at once, on main and each on a branch of its own: nothing is lost or doubled."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets_tests.forks import Fork
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import PartitionField, Table

ROOT = Path(__file__).resolve().parents[2]
WRITERS = 4
STEPS = 3
"""Commits of each process on main and as many on its branch; more of them make a longer run."""

_CHILD = """
import json, sys
from datetime import date
from pathlib import Path
import pyarrow as pa
from lakehouse.errors import CommitConflict
from lakehouse.iceberg import Lake
from lakehouse.settings import load_settings
from lakehouse.tables import TableName
root, state, name, uri, me, steps = sys.argv[1:]
me, steps = int(me), int(steps)
table = Lake.open(load_settings(Path(root), state=state, catalog={"name": name, "uri": uri})).table(
    TableName.parse("silver.orders"))
schema = table.schema()

def rows(ids):
    empty = [None] * len(ids)
    day = [date(2026, 1, 1 + me)] * len(ids)
    values = {"order_id": ids, "order_date": day, "amount": empty, "paid_at": empty, "email": empty}
    return pa.table(values, schema=schema)

print("ready", flush=True)
sys.stdin.readline()
retries, conflicts, expected = 0, 0, {"main": [], f"run/{me}": []}
for step in range(steps):
    for branch, ids in expected.items():
        key = f"{branch} {me} {step}"
        new = 1000 * me + step
        while True:
            try:
                if step % 3 == 2:
                    # Every third step puts one row in the place of all that this process has written.
                    commit = table.overwrite(
                        rows([new]), where=f"order_date = '2026-01-0{1 + me}'", run_key=key, branch=branch)
                    ids[:] = [new]
                else:
                    commit = table.append(rows([new]), run_key=key, branch=branch,
                        progress={f"writer {me}": {"step": step}},)
                    ids.append(new)
            except CommitConflict:
                conflicts += 1
            else:
                break
        retries += commit.retries
        assert not commit.already_done
print(json.dumps({"retries": retries, "conflicts": conflicts, "expected": expected}))
"""


@pytest.fixture(params=["sqlite", "postgres"])
def any_settings(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    """Both in `make test`: processes meet in them in different ways."""
    return place(request.param, "folder")


def _answers(settings: Settings, fork: Callable[..., Fork]) -> list[dict[str, Any]]:
    """What the processes say that they did, begun together and ended."""
    uri = settings.catalog.uri.get_secret_value()
    children = [fork(_CHILD, ROOT, settings.state, settings.catalog.name, uri, me, STEPS) for me in range(WRITERS)]
    for child in children:
        assert child.line() == "ready", child.stderr
    # All of them are loaded.
    for child in children:
        child.go()
    return [json.loads(child.rest()[-1]) for child in children]


def test_four_processes_lose_and_double_nothing(
    any_lake: Lake,
    any_settings: Settings,
    orders: Table,
    fork: Callable[..., Fork],
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = any_lake.create(replace(orders, partition_by=(PartitionField("order_date", "month"),)))
    for me in range(WRITERS):
        table.create_branch(f"run/{me}")
    answers = _answers(any_settings, fork)

    def ids(branch: str) -> list[int]:
        return sorted(table.scan(columns=["order_id"], at=branch).read_all()["order_id"].to_pylist())

    for me, answer in enumerate(answers):
        assert ids(f"run/{me}") == sorted(answer["expected"][f"run/{me}"])
    assert ids("main") == sorted(number for answer in answers for number in answer["expected"]["main"])
    for branch in ("main", *(f"run/{me}" for me in range(WRITERS))):
        keys = Counter(snapshot.run_key for snapshot in table.snapshots(branch) if snapshot.run_key)
        assert set(keys.values()) == {1}
        assert len(keys) == STEPS * (WRITERS if branch == "main" else 1)
    assert {table.progress(f"writer {me}")["step"] for me in range(WRITERS)} == {STEPS - 1 - (STEPS % 3 == 0)}  # type: ignore[index]  # each has one
    # Every snapshot has one manifest list, and no refused attempt left one behind.
    lists = list((any_settings.state / "warehouse").rglob("snap-*.avro"))
    assert len(lists) == 2 * WRITERS * STEPS + 1
    with capsys.disabled():
        counted = {key: [answer[key] for answer in answers] for key in ("retries", "conflicts")}
        sys.stdout.write(f"\n{WRITERS} processes x {2 * STEPS} commits: {counted} ")
