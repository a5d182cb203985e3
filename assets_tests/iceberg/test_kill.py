"""A process killed between its data files and its commit: the next run with the same key writes once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import Table

ROOT = Path(__file__).resolve().parents[2]

_CHILD = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from lakehouse.iceberg import Lake, effects
from lakehouse.settings import load_settings
from lakehouse.tables import TableName
root, state, name, uri, step = sys.argv[1:]
lake = Lake.open(load_settings(Path(root), state=state, catalog={"name": name, "uri": uri}))
honest = SqlCatalog.commit_table

def die(*_):
    print("reached", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def land_and_die(*arguments):
    honest(*arguments)
    die()

if step == "files written":
    effects.commit_append = die
elif step == "manifests written":
    SqlCatalog.commit_table = die
else:
    SqlCatalog.commit_table = land_and_die
target = lake.table(TableName.parse("silver.orders"))
row = {"order_id": [1], "order_date": [0], "amount": [None], "paid_at": [None], "email": [None]}
target.append(pa.table(row, schema=target.schema()), run_key="a", progress={"shop": {"w": 1}})
"""


@pytest.mark.parametrize("step", ["files written", "manifests written", "landed"])
def test_the_same_run_key_after_a_kill_makes_one_snapshot(
    any_lake: Lake, any_settings: Settings, orders: Table, rows: Callable[..., pa.Table], step: str
) -> None:
    table = any_lake.create(orders)
    uri = any_settings.catalog.uri.get_secret_value()
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(ROOT), str(any_settings.state), any_settings.catalog.name, uri, step],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (child.returncode, child.stdout.splitlines()[-1:]) == (-signal.SIGKILL, ["reached"]), child.stderr
    assert len(list((any_settings.state / "warehouse").rglob("*.parquet"))) == 1
    landed = step == "landed"
    assert len(table.snapshots()) == int(landed)
    assert table.progress("shop") == ({"w": 1} if landed else None)
    again = table.append(rows([1]), run_key="a", progress={"shop": {"w": 1}})
    assert again.already_done is landed
    assert len(table.snapshots()) == 1
    assert table.scan().read_all()["order_id"].to_pylist() == [1]
