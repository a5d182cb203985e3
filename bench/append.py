"""Append: our writer and commit against PyIceberg's own `append`, on the same rows, catalog and disk, in turn.

`append_peak_mb` is what a stream of ten times as many rows adds to the memory of a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from bench.report import peak_mb, report
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName

_TYPES = {"id": "long", "customer": "long", "quantity": "int", "price": "double", "day": "date", "at": "timestamptz"}
_TYPES |= {"status": "string", "city": "string", "note": "string", "amount": "decimal(12, 2)"}
_ROWS = """
select i as id, (hash(i) % 100000)::bigint as customer, (i % 7)::integer as quantity, random() as price,
    date '2026-01-01' + (i % 30)::integer as day, timestamptz '2026-01-01 00:00:00+00' + interval (i) second as at,
    ['placed', 'paid', 'shipped'][1 + i % 3] as status, 'city ' || (i % 500) as city, md5(i::varchar) as note,
    (i % 10000)::decimal(12, 2) as amount
from range({first}, {last}) t(i)
"""
_CHUNK = 500_000


def rows(first: int, last: int) -> pa.Table:
    """Rows of ten columns, made by DuckDB."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        return connection.execute(_ROWS.format(first=first, last=last)).to_arrow_table()


def open_table(folder: Path, name: str) -> LakeTable:
    """An empty table of ours in a lake of its own."""
    state = folder / "state"
    state.mkdir(exist_ok=True)
    settings = load_settings(Path.cwd(), state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})
    columns = tuple(Column(column, kind) for column, kind in _TYPES.items())
    declared = Table(TableName(Layer.SILVER, name), "bench", "benchmark", columns, Path(__file__))
    return Lake.open(settings).create(declared)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def side_by_side(count: int, rounds: int) -> tuple[float, float]:
    """Medians of ours and theirs, in seconds, over rounds in turn."""
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(Path(folder), "ours")
        content = rows(0, count)
        peer = SqlCatalog("peer", uri=f"sqlite:///{folder}/peer.db", warehouse=f"file://{folder}/peer")
        peer.create_namespace("bench")
        zstd = {"write.parquet.compression-codec": "zstd"}
        stock = peer.create_table("bench.theirs", schema=content.schema, properties=zstd)
        for number in range(rounds):
            ours.append(seconds(lambda n=number: table.append(content, run_key=f"round {n}")))
            theirs.append(seconds(lambda: stock.append(content)))
    return statistics.median(ours), statistics.median(theirs)


def stream(count: int) -> float:
    """MiB that appending a stream adds to this process."""
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(Path(folder), "stream")
        # A chunk must be made to write it: what that takes is not the writer's.
        schema = rows(0, _CHUNK).schema
        before = peak_mb()
        chunks = (batch for first in range(0, count, _CHUNK) for batch in rows(first, first + _CHUNK).to_batches())
        table.append(pa.RecordBatchReader.from_batches(schema, chunks), run_key="stream")
        return peak_mb() - before


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.stream:
        print(stream(words.rows))
        return
    # First, while this process is small: on Linux a child's peak begins with that of the process which started it.
    command = [sys.executable, "-m", "bench.append", "--stream", "--rows", str(10 * words.rows)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603
    ours, theirs = side_by_side(words.rows, words.rounds)
    figures = {
        "append_s": ours,
        "append_pyiceberg_s": theirs,
        "append_peak_mb": grown,
        "append_rows": float(words.rows),
    }
    report("append", figures, {"append_vs_pyiceberg": theirs / ours}, words.json)


if __name__ == "__main__":
    main()
