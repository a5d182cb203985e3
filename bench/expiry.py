"""Expiry: 500 snapshots to one, files included, on SQLite and a disk; each call on a table of its own.

All are made alike: nine appends of 1,000 rows, a full overwrite, and so on, by our own writer. `expire_500_s` is our
whole call, in a process of its own, whose memory grows by `expire_500_peak_mb`; `expired_files` are deleted by it.
PyIceberg's `by_ids` of the same ids deletes no file. Where Spark is installed (`python -m bench.spark install`), its
`expire_snapshots` does the same work, warm.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from bench import spark
from bench.append import declared, rows, spent
from bench.report import peak_mb, report
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Layer, TableName

_ROWS = 1000
_PERIOD = 10
_WARMING = "warming"
_AHEAD = timedelta(days=8)
"""A table that declares nothing keeps its snapshots for a week."""


def settings_in(state: Path) -> Settings:
    """A lake in a folder, with SQLite."""
    return load_settings(Path.cwd(), state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


def stock(settings: Settings) -> SqlCatalog:
    """The same catalog as plain PyIceberg opens it."""
    uri = settings.catalog.uri.get_secret_value()
    return SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)


def make(settings: Settings, name: str, snapshots: int) -> None:
    """A table of so many snapshots."""
    table, content = Lake.open(settings).create(declared(name)), rows(0, _ROWS)
    for number in range(snapshots):
        if number % _PERIOD == _PERIOD - 1:
            table.overwrite(content, where=None, run_key=str(number))
        else:
            table.append(content, run_key=str(number))


def ours(state: Path, name: str) -> dict[str, float]:
    """Our expiry of a table, with what this process spends on it."""
    settings = settings_in(state)
    table = Lake.open(settings).table(TableName(Layer.SILVER, name))
    store = open_store(settings, settings.warehouse)
    before, now = peak_mb(), datetime.now(UTC) + _AHEAD
    wall, cpu = time.perf_counter(), time.process_time()
    done = table.expire_snapshots(store, now=now)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if done.snapshots_kept != 1 or done.left:
        raise SystemExit(f"the expiry is not done: {done}")
    files = done.data_files_deleted + done.metadata_files_deleted
    return {"s": wall, "cpu_s": cpu, "peak_mb": peak_mb() - before, "files": files}


def by_ids(table: IcebergTable) -> None:
    """PyIceberg's expiry of everything but the head."""
    head = table.metadata.current_snapshot_id
    ids = [snapshot.snapshot_id for snapshot in table.snapshots() if snapshot.snapshot_id != head]
    table.maintenance.expire_snapshots().by_ids(ids).commit()


def spark_warm_s(settings: Settings, name: str) -> float:
    """Spark's expiry of a table, after that of another one has warmed it."""
    measured = spark.expire_snapshots(
        settings.catalog.uri.get_secret_value(),
        settings.warehouse,
        settings.catalog.name,
        [f"{Layer.SILVER}.{_WARMING}", f"{Layer.SILVER}.{name}"],
        older_than=datetime.now(UTC) + timedelta(minutes=1),
    )
    return measured[-1]


def in_child(step: str, state: str, name: str, count: int) -> str:
    """A step in a process of its own. On Linux its peak begins with that of this one, which so stays small."""
    command = [sys.executable, "-m", "bench.expiry", "--step", step, state, name, "--snapshots", str(count)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603  (ourselves)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=500)
    parser.add_argument("--without-spark", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    words = parser.parse_args()
    count: int = words.snapshots
    if words.step:
        step, state, name = words.step
        if step == "make":
            make(settings_in(Path(state)), name, count)
        else:
            print(json.dumps(ours(Path(state), name)))
        return
    with tempfile.TemporaryDirectory() as name:
        settings = settings_in(Path(name))
        in_child("make", name, "ours", count)
        found: dict[str, float] = json.loads(in_child("expire", name, "ours", count).splitlines()[-1])
        figures = {f"expire_{count}_{key}": found[key] for key in ("s", "cpu_s", "peak_mb")}
        figures["expired_files"] = found["files"]
        make(settings, "theirs", count)
        theirs, _ = spent(partial(by_ids, stock(settings).load_table(f"{Layer.SILVER}.theirs")))
        figures[f"expire_{count}_pyiceberg_by_ids_s"] = theirs
        ratios = {"expire_vs_pyiceberg_by_ids": theirs / found["s"]}
        if spark.available() and not words.without_spark:
            for table in (_WARMING, "spark"):
                make(settings, table, count)
            warm = spark_warm_s(settings, "spark")
            figures[f"expire_{count}_spark_s"] = warm
            ratios["expire_vs_spark_warm"] = warm / found["s"]
    report("expiry", figures, ratios, words.json)


if __name__ == "__main__":
    main()
