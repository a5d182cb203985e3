"""The steps of the benchmark of merges, each the work of a process of its own: `python -m bench.merge_steps STEP ...`.

A step prints a JSON object of what it took, the CPU seconds and the peak of its whole process among it. What is made
of the figures does not belong here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog

from bench.merge_rows import FILES, changed, make, named, put, settings_of
from bench.report import peak_mb
from lakehouse.iceberg import Lake, connect
from lakehouse.iceberg.merge.rules import Way
from lakehouse.upkeep.engine import engine

KEY = ("id",)
COMPOSITE = ("order_date", "id")
"""A day has thousands of rows: neither column finds a row alone without the other being compared."""
ORDERS, FEW = "orders", "few"
"""A table of all rows, and one of a fifth of them, of as large files."""
LARGE, SMALL, RECENT, RECENT_FEW = "large", "small", "recent", "recent_few"
"""Files of rows that change: a fifth of the table's, a fiftieth, and a five-hundredth among the newest, of each table.

With 5M rows these are 1M, 100k and 10k.
"""
EXPECTED = "expected"
_FEW_FILES = 2
_MERGES = 10
_READS = 3


def make_all(folder: Path, total: int) -> dict[str, float]:
    """Both tables, and what changes; nothing is measured."""
    settings = settings_of(folder)
    make(settings, named(ORDERS), total, FILES)
    make(settings, named(FEW), total // 5, _FEW_FILES)
    put(changed(total, total // 5, seed=99), file_of(folder, LARGE))
    put(changed(total, total // 50, seed=98), file_of(folder, SMALL))
    put(changed(total, total // 500, seed=97, among=total // 25), file_of(folder, RECENT))
    put(changed(total // 5, total // 500, seed=97, among=total // 25), file_of(folder, RECENT_FEW))
    return {}


def file_of(folder: Path, source: str) -> Path:
    """Where rows that change are."""
    return folder / f"{source}.parquet"


def ours(words: argparse.Namespace) -> dict[str, float]:
    """One merge of ours on a branch, of rows that are ready in memory."""
    settings = settings_of(words.folder)
    table = Lake.open(settings).table(named(words.table))
    table.create_branch(words.branch)
    rows = pq.read_table(file_of(words.folder, words.source))
    way = Way(words.way) if words.way else None
    with engine(settings) as connection, _spent() as spent:
        table.merge(
            rows,
            key=words.key,
            sequence=words.sequence,
            connection=connection,
            way=way,
            branch=words.branch,
            run_key=words.branch,
        )
    return spent


def upsert(words: argparse.Namespace) -> dict[str, float]:
    """PyIceberg's own, of the same rows, ready in memory too."""
    settings = settings_of(words.folder)
    uri = settings.catalog.uri.get_secret_value()
    catalog = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    table = catalog.load_table(named(words.table).key)
    head = table.metadata.snapshot_by_name("main")
    assert head is not None  # noqa: S101  (for the type checker: the table has rows)
    table.manage_snapshots().create_branch(head.snapshot_id, words.branch).commit()
    rows = pq.read_table(file_of(words.folder, words.source))
    with _spent() as spent:
        table.upsert(rows, join_cols=list(words.key), branch=words.branch)
    catalog.engine.dispose()
    return spent


def compare(words: argparse.Namespace) -> dict[str, float]:
    """Whether branches hold the rows that plain SQL over both files of rows makes: ends this process if not."""
    settings = settings_of(words.folder)
    lake = Lake.open(settings)
    source = f"read_parquet('{file_of(words.folder, words.source)}')"
    main = lake.relation_sql(named(words.table))
    with connect(settings) as connection:
        old = f"SELECT * FROM {main} ANTI JOIN {source} USING (id)"
        told = {EXPECTED: _digest(connection, f"({old} UNION ALL BY NAME FROM {source})")}
        for branch in words.branches:
            told[branch] = _digest(connection, lake.relation_sql(named(words.table), branch))
    if len(set(told.values())) != 1:
        sys.exit(f"the rows differ (count, ids, summed hash): {told}")
    return {"rows": float(told[EXPECTED][0])}


def ten(words: argparse.Namespace) -> dict[str, float]:
    """Ten merges of main in a row, and what one reading of all columns costs before, after, and once compacted."""
    settings = settings_of(words.folder)
    lake = Lake.open(settings)
    table, took = lake.table(named(words.table)), {}
    with engine(settings) as connection:
        took["read_before_s"], _ = _read(connection, lake, words.table)
        took["merge_10_s"] = took["merge_10_cpu_s"] = 0.0
        for number in range(_MERGES):
            rows = changed(words.rows, words.rows // 50, seed=number)
            with _spent() as spent:
                table.merge(rows, key=KEY, connection=connection, run_key=f"merge {number}")
            took["merge_10_s"] += spent["s"]
            took["merge_10_cpu_s"] += spent["cpu_s"]
        took["read_after_10_s"], merged = _read(connection, lake, words.table)
        took["files_after_10"] = float(len(table.live_files()))
        with _spent() as spent:
            table.compact([[file.path for file in table.live_files()]], connection=connection)
        took["compact_after_10_s"] = spent["s"]
        took["read_after_compaction_s"], compacted = _read(connection, lake, words.table)
    if merged != compacted:
        sys.exit(f"compaction changed rows: {merged} before, {compacted} after")
    return took


def apart(step: str, folder: Path, **words: str | int | Sequence[str]) -> dict[str, float]:
    """A step in a process of its own: what it says, and the seconds from start to end (`process_s`)."""
    command = [sys.executable, "-m", "bench.merge_steps", step, "--folder", str(folder)]
    for word, value in words.items():
        command += [f"--{word}", *([str(value)] if isinstance(value, str | int) else value)]
    started = time.perf_counter()
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  (ourselves)
    wall = time.perf_counter() - started
    return {**json.loads(answer.stdout.splitlines()[-1]), "process_s": wall}


def _digest(connection: duckdb.DuckDBPyConnection, relation: str) -> tuple[int, int, int]:
    """Count, different ids, and the sum of the rows' hashes."""
    columns = ", ".join(name for name, *_ in connection.execute(f"DESCRIBE FROM {relation}").fetchall())
    [(rows, ids, hashed)] = connection.execute(
        f"SELECT count(*), count(DISTINCT id), sum(hash({columns})::HUGEINT) FROM {relation}"
    ).fetchall()
    return rows, ids, hashed


def _read(connection: duckdb.DuckDBPyConnection, lake: Lake, table: str) -> tuple[float, tuple[int, int]]:
    """Seconds that counting and summing all columns takes (the best of three), and what comes out."""
    relation = lake.relation_sql(named(table))
    columns = ", ".join(name for name, *_ in connection.execute(f"DESCRIBE FROM {relation}").fetchall())
    took = []
    for _ in range(_READS):
        with _spent() as spent:
            [found] = connection.execute(f"SELECT count(*), sum(hash({columns})::HUGEINT) FROM {relation}").fetchall()
        took.append(spent["s"])
    return min(took), found


@contextmanager
def _spent() -> Iterator[dict[str, float]]:
    """Wall and CPU seconds (of all threads) of a block."""
    found: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found |= {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--table", default=ORDERS)
    parser.add_argument("--source")
    parser.add_argument("--branch")
    parser.add_argument("--branches", nargs="+")
    parser.add_argument("--key", nargs="+", default=KEY)
    parser.add_argument("--sequence")
    parser.add_argument("--way")
    words = parser.parse_args()
    steps: Mapping[str, Callable[[argparse.Namespace], dict[str, float]]] = {
        "make": lambda given: make_all(given.folder, given.rows),
        "ours": ours,
        "upsert": upsert,
        "compare": compare,
        "ten": ten,
    }
    found = steps[words.step](words)
    # Both are of the process from its beginning.
    print(json.dumps(found | {"process_cpu_s": time.process_time(), "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
