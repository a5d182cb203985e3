"""Compaction: 200 files of a table into one, with the proof, against DuckDB's plain COPY of them and Spark's procedure.

Each is a process of its own: the files are made in one, and every round of ours and of the COPY is another, in turn.
`binpack_s` is the whole call: planning, both readings for the proof, rewriting, commit. `proof_share` is the proof's
part of it. `binpack_vs_duckdb_copy` leaves the proof out, for COPY proves nothing. Spark (`python -m bench.spark
install`) compacts the same table between rounds of ours, warm: its second and later calls; without it that key is not
there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb

from bench import spark
from bench.report import peak_mb, report
from lakehouse.iceberg import Lake
from lakehouse.iceberg.compaction.encoders import PARQUET
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, Table, TableName
from lakehouse.upkeep.engine import engine

NAME = TableName(Layer.SILVER, "small")
_TYPES = {"id": "long", "customer_id": "long", "order_ts": "timestamp", "order_date": "date", "status": "string"}
_TYPES |= {"amount": "double", "qty": "int", "country": "string", "product": "string", "email": "string"}
_TYPES |= {"note": "string", "updated_at": "timestamp"}
# Twelve columns in no order of any of them: numbers, times, texts of few values, of many, and one that nothing packs.
_ROWS = """
select id, (hash(id) % 200000)::bigint as customer_id, ts as order_ts, ts::date as order_date,
    ['new', 'paid', 'shipped', 'done', 'returned'][(1 + hash(id, 1) % 5)::int] as status,
    (hash(id, 2) % 100000)::double / 100 as amount, (1 + hash(id, 3) % 9)::integer as qty,
    ['DE', 'FR', 'BR', 'US', 'JP', 'IN'][(1 + hash(id, 4) % 6)::int] as country,
    'product ' || (hash(id, 5) % 5000) as product, 'user' || (hash(id, 6) % 2000000) || '@example.com' as email,
    substr(md5(id::varchar), 1, 24) as note,
    timestamp '2026-06-01' + interval ((hash(id, 7) % 8640000)::int) second as updated_at
from (select id, timestamp '2025-01-01' + interval (id * 6300 % 31536000000 // 1000) second as ts
    from (select (i * 7919 % {total})::bigint as id from range({first}, {last}) t(i)))
"""
_SPARK_TARGET_MB = 128
"""Two files or more: with one, Spark has one task, and one of its two cores waits."""


def settings_of(folder: Path) -> Settings:
    """A lake in a folder, on SQLite."""
    return load_settings(Path.cwd(), state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})


def make(folder: Path, rows: int, files: int) -> dict[str, float]:
    """The table, a file for each append; nothing is measured."""
    columns = tuple(Column(name, kind) for name, kind in _TYPES.items())
    table = Lake.open(settings_of(folder)).create(Table(NAME, "bench", "benchmark", columns, Path(__file__)))
    each = rows // files
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        for number in range(files):
            query = _ROWS.format(total=rows, first=number * each, last=(number + 1) * each)
            table.append(connection.execute(query).to_arrow_table(), run_key=f"file {number}")
    return {}


def compact(folder: Path) -> dict[str, float]:
    """One compaction of ours; the table is taken back to where it was."""
    settings = settings_of(folder)
    table = Lake.open(settings).table(NAME)
    head = table.snapshots()[0].id
    with engine(settings) as connection:
        started, cpu = time.perf_counter(), time.process_time()
        done = table.compact([[file.path for file in table.live_files()]], connection=connection)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_mb()
    table.restore(table.plan_restore(to=head))
    megabytes = done.bytes_after / 2**20
    return {"wall_s": wall, "cpu_s": cpu, "proof_s": done.proof_s, "peak_mb": peak, "file_mb": megabytes}


def copy(folder: Path) -> dict[str, float]:
    """DuckDB's COPY of the same files with the same settings: no Iceberg, no proof."""
    settings = settings_of(folder)
    files = [str(local_path(file.path)) for file in Lake.open(settings).table(NAME).live_files()]
    to = folder / "copy.parquet"
    with engine(settings) as connection:
        connection.execute("SET preserve_insertion_order = false")
        started, cpu = time.perf_counter(), time.process_time()
        connection.execute(f"COPY (FROM read_parquet({files})) TO '{to}' ({PARQUET})")
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    megabytes = to.stat().st_size / 2**20
    to.unlink()
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "file_mb": megabytes}


def apart(step: str, folder: Path, words: argparse.Namespace) -> dict[str, float]:
    """A step in a process of its own."""
    command = [sys.executable, "-m", "bench.compaction", "--step", step, "--folder", str(folder)]
    command += ["--rows", str(words.rows), "--files", str(words.files)]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  (ourselves)
    return dict(json.loads(answer.stdout.splitlines()[-1]))


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Each figure's median."""
    return {key: statistics.median(of[key] for of in rounds) for key in rounds[0]}


def spark_warm_s(folder: Path, runs: int) -> float | None:
    """Median seconds of Spark's calls but the first; None where it is not installed."""
    if not spark.available():
        return None
    settings = settings_of(folder)
    uri = settings.catalog.uri.get_secret_value()
    spent = spark.rewrite_data_files(
        uri, settings.warehouse, settings.catalog.name, str(NAME), runs=runs, target_mb=_SPARK_TARGET_MB
    )
    return statistics.median(spent[1:])


def options() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--spark-runs", type=int, default=3, help="0: without Spark; else at least 2, the first is cold"
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=["make", "compact", "copy"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(folder: Path, words: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and ratios."""
    apart("make", folder, words)
    ours, theirs = [], []
    warm = None
    for number in range(words.rounds):
        if number == words.rounds // 2 and words.spark_runs:
            # Between rounds of ours, for a machine may be slower at the end than at the beginning.
            warm = spark_warm_s(folder, words.spark_runs)
        ours.append(apart("compact", folder, words))
        theirs.append(apart("copy", folder, words))
    own, plain = medians(ours), medians(theirs)
    shares = [of["proof_s"] / of["wall_s"] for of in ours]
    unproved = [other["wall_s"] / (of["wall_s"] - of["proof_s"]) for of, other in zip(ours, theirs, strict=True)]
    figures = {
        "binpack_s": own["wall_s"],
        "binpack_cpu_s": own["cpu_s"],
        "proof_s": own["proof_s"],
        "proof_share": statistics.median(shares),
        "compaction_peak_mb": max(of["peak_mb"] for of in ours),
        "binpack_file_mb": own["file_mb"],
        "duckdb_copy_s": plain["wall_s"],
        "duckdb_copy_cpu_s": plain["cpu_s"],
        "duckdb_copy_file_mb": plain["file_mb"],
        "compaction_rows": float(words.rows),
        "compaction_files": float(words.files),
    }
    ratios = {"binpack_vs_duckdb_copy": statistics.median(unproved)}
    if warm is not None:
        figures["spark_warm_s"] = warm
        ratios["binpack_vs_spark_warm"] = warm / own["wall_s"]
    return figures, ratios


def main() -> None:
    """Measure and report."""
    words = options()
    steps: Mapping[str, Callable[[], dict[str, float]]] = {
        "make": lambda: make(words.folder, words.rows, words.files),
        "compact": lambda: compact(words.folder),
        "copy": lambda: copy(words.folder),
    }
    if words.step:
        print(json.dumps(steps[words.step]()))
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        figures, ratios = measured(Path(folder), words)
    report("compaction", figures, ratios, words.json)


if __name__ == "__main__":
    main()
