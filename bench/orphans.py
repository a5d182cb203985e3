"""Orphans: finding and removing files that nothing names, half of the files in a table's folder, on a disk.

`orphans_find_s` lists the folder and decides on every file (a dry look), `orphans_sight_s` is the first sweep, which
writes each orphan into `ops.orphans`, `orphans_remove_s` the second, which lists again and removes them. Peaks are of
processes of their own, by the number of files. Where Spark is installed (`python -m bench.spark install`), its
`remove_orphan_files` does the same on the same folder, warm; it needs one listing and keeps no record.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from bench import spark
from bench.report import peak_mb, report
from lakehouse.iceberg import Lake, find_orphans
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, Layer, Table, TableName
from lakehouse.upkeep.orphans import OrphanSweep, sweep_orphans

_LARGE, _WARMING = TableName(Layer.SILVER, "orders"), TableName(Layer.SILVER, "warming")
_A_COMMIT = 1000
_SAFE = timedelta(hours=72)
_AGE = timedelta(days=10)
_CONTENT = b"0123456789"


def settings_in(state: Path) -> Settings:
    """A lake in a folder, with SQLite."""
    return load_settings(Path.cwd(), state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


def make(state: Path, name: TableName, live: int) -> None:
    """A table whose metadata names so many files, a thousand a commit. Nobody reads them: they need no rows."""
    settings = settings_in(state)
    columns = (Column("id", "long"),)
    Lake.open(settings).create(Table(name, "bench", "benchmark", columns, Path(__file__)))
    catalog = SqlCatalog("lake", uri=settings.catalog.uri.get_secret_value(), warehouse=settings.warehouse)
    table = catalog.load_table(name.key)
    folder = f"{table.location()}/data"
    for first in range(0, live, _A_COMMIT):
        names = [f"live-{number:07d}.parquet" for number in range(first, min(first + _A_COMMIT, live))]
        fill(Path(folder.removeprefix("file://")), names)
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as added:
            for file in names:
                added.append_data_file(_described(f"{folder}/{file}"))
    catalog.engine.dispose()


def _described(path: str) -> DataFile:
    made = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=1,
        file_size_in_bytes=len(_CONTENT),
    )
    made.spec_id = 0
    return made


def fill(folder: Path, names: list[str]) -> None:
    """Small files, dated some days back: Spark refuses what is younger than a day."""
    folder.mkdir(parents=True, exist_ok=True)
    old = (datetime.now(UTC) - _AGE).timestamp()
    for name in names:
        (folder / name).write_bytes(_CONTENT)
        os.utime(folder / name, (old, old))


def plant(state: Path, name: TableName, count: int) -> None:
    """Files that nothing names beside those that are named."""
    folder = state / "warehouse" / name.layer.value / name.table / "data"
    fill(folder, [f"orphan-{number:07d}.parquet" for number in range(count)])


def sweep(state: Path) -> dict[str, float]:
    """Seconds of a dry look and of both sweeps, and the peak of this process. Raises SystemExit when files are left."""
    settings = settings_in(state)
    lake, store = Lake.open(settings), open_store(settings, settings.warehouse)
    now = datetime.now(UTC)
    found: list[int] = []

    def look() -> None:
        found.append(sum(1 for _ in find_orphans(lake, _LARGE, store, older_than=_SAFE, now=now)))

    done: list[OrphanSweep] = []

    def swept(at: datetime) -> None:
        done.append(sweep_orphans(lake, _LARGE, store, safe_age=_SAFE, now=at, run_id=at.isoformat()))

    times = {
        "find_s": seconds(look),
        "sight_s": seconds(partial(swept, now)),
        "remove_s": seconds(partial(swept, now + 2 * _SAFE)),
    }
    if not found[0] == done[0].sighted_new == done[1].removed:
        raise SystemExit(f"found {found[0]}, sighted {done[0].sighted_new}, removed {done[1].removed}")
    return {**times, "peak_mb": peak_mb()}


def seconds(work: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(folder: Path, files: int) -> dict[str, float]:
    """Make a table with so many files, half of them orphans, and sweep it, each in a process of its own.

    On Linux the peak of a child begins with that of the process which started it: so this one stays small.
    """
    state = folder / f"{files}"
    state.mkdir()
    _child("make", state, files)
    answer: dict[str, float] = json.loads(_child("sweep", state, files))
    return answer


def _child(step: str, state: Path, files: int) -> str:
    command = [sys.executable, "-m", "bench.orphans", "--step", step, "--state", str(state), "--files", str(files)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  (ourselves)
    return ended.stdout.splitlines()[-1]


def in_child(words: argparse.Namespace) -> dict[str, Any]:
    """What a child was asked for."""
    if words.step == "sweep":
        return sweep(words.state)
    for name, files in {_LARGE: words.files, _WARMING: 100}.items():
        make(words.state, name, files // 2)
        plant(words.state, name, files // 2)
    return {}


def spark_warm_s(state: Path, files: int) -> float:
    """Spark's removal of the same orphans, after that of a small table has warmed it."""
    plant(state, _LARGE, files // 2)
    settings = settings_in(state)
    spent = spark.remove_orphan_files(
        settings.catalog.uri.get_secret_value(),
        settings.warehouse,
        settings.catalog.name,
        [str(_WARMING), str(_LARGE)],
        older_than=datetime.now(UTC) - timedelta(days=3),
    )
    left = list((state / "warehouse/silver/orders/data").glob("orphan-*"))
    if left:
        raise SystemExit(f"Spark left {len(left)} orphans")
    return spent[-1]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="in the table's folder; a tenth of it besides")
    parser.add_argument("--without-spark", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=["make", "sweep"], help=argparse.SUPPRESS)
    parser.add_argument("--state", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.step:
        print(json.dumps(in_child(words)))
        return
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, files = Path(name), words.files
        tenth, whole = measured(folder, files // 10), measured(folder, files)
        figures = {
            "orphans_files": float(files),
            **{f"orphans_{key}": whole[key] for key in ("find_s", "sight_s", "remove_s")},
            "orphans_files_per_s": files / whole["find_s"],
            "orphans_removed_per_s": files // 2 / whole["remove_s"],
            f"orphans_peak_mb_{files // 10_000}k": tenth["peak_mb"],
            f"orphans_peak_mb_{files // 1000}k": whole["peak_mb"],
        }
        if spark.available() and not words.without_spark:
            warm = spark_warm_s(folder / f"{files}", files)
            figures["orphans_spark_s"] = warm
            ratios["orphans_vs_spark_warm"] = warm / whole["remove_s"]
    report("orphans", figures, ratios, words.json)


if __name__ == "__main__":
    main()
