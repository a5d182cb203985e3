"""Append: our writer and commit against PyIceberg's own `append`, on the same rows, catalog and disk, in turn.

Large: a ready table in one append. Small: 100 appends of 100 rows, on SQLite and PostgreSQL, and with `--rest` and
`--s3` on servers that run already (keys of S3 from the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY).
`append_peak_mb` is what a stream of ten times as many rows adds to the memory of a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table as IcebergTable

from bench.report import peak_mb, report
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.services.postgres import EmbeddedPostgres
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
_SMALL_ROWS = 100
_SMALL_COMMITS = 100


def rows(first: int, last: int) -> pa.Table:
    """Rows of ten columns, made by DuckDB."""
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        return connection.execute(_ROWS.format(first=first, last=last)).to_arrow_table()


def declared(name: str) -> Table:
    """A table of such rows."""
    columns = tuple(Column(column, kind) for column, kind in _TYPES.items())
    return Table(TableName(Layer.SILVER, name), "bench", "benchmark", columns, Path(__file__))


@dataclass(frozen=True)
class Place:
    """A catalog's address, a warehouse, and S3's address where the warehouse is there."""

    catalog: str
    warehouse: str
    s3: str | None = None

    def ours(self, state: Path, name: str) -> LakeTable:
        """An empty table of ours. `state`: a folder for what a lake keeps besides."""
        state.mkdir(exist_ok=True)
        settings = load_settings(
            Path.cwd(),
            state=str(state),
            catalog={"uri": self.catalog, "name": uuid.uuid4().hex},
            warehouse=self.warehouse,
            s3={"endpoint": self.s3},
        )
        return Lake.open(settings).create(declared(name))

    def theirs(self, content: pa.Table, name: str) -> IcebergTable:
        """An empty table of stock PyIceberg, with the compression that ours has: zstd, level 1."""
        options = {"uri": self.catalog, "warehouse": f"{self.warehouse}/peer", "s3.endpoint": self.s3}
        kind = "rest" if self.catalog.startswith("http") else "sql"
        given = {key: value for key, value in options.items() if value is not None}
        peer = load_catalog(uuid.uuid4().hex, type=kind, **given)
        peer.create_namespace_if_not_exists("bench")
        zstd = {"write.parquet.compression-codec": "zstd", "write.parquet.compression-level": "1"}
        return peer.create_table(f"bench.{name}", schema=content.schema, properties=zstd)


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds (of all threads) of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def side_by_side(place: Place, folder: Path, content: pa.Table, rounds: int) -> tuple[list[float], list[float]]:
    """Medians of [wall, CPU] seconds of one append: ours and theirs, over rounds in turn."""
    name = f"t{uuid.uuid4().hex}"
    table, stock = place.ours(folder / "state", name), place.theirs(content, name)
    ours, theirs = [], []
    for number in range(rounds):
        ours.append(spent(partial(table.append, content, run_key=f"round {number}")))
        theirs.append(spent(partial(stock.append, content)))
    return _medians(ours), _medians(theirs)


def _medians(pairs: list[tuple[float, float]]) -> list[float]:
    return [statistics.median(values) for values in zip(*pairs, strict=True)]


def small_commits(place: Place, folder: Path, suffix: str = "") -> tuple[dict[str, float], dict[str, float]]:
    """Milliseconds of the median of 100 small appends, in turn; `suffix` names the catalog in the keys."""
    content = rows(0, _SMALL_ROWS)
    ours, theirs = side_by_side(place, folder, content, _SMALL_COMMITS)
    key = f"small_commit{suffix}"
    figures = {
        f"{key}_ms": 1000 * ours[0],
        f"{key}_cpu_ms": 1000 * ours[1],
        f"{key}_pyiceberg_ms": 1000 * theirs[0],
        f"{key}_pyiceberg_cpu_ms": 1000 * theirs[1],
    }
    return figures, {f"small_commits{suffix}_vs_pyiceberg": theirs[0] / ours[0]}


def stream(count: int) -> float:
    """MiB that appending a stream adds to this process."""
    with tempfile.TemporaryDirectory() as folder:
        table = local(Path(folder)).ours(Path(folder) / "state", "stream")
        # A chunk must be made to write it: what that takes is not the writer's.
        schema = rows(0, _CHUNK).schema
        before = peak_mb()
        chunks = (batch for first in range(0, count, _CHUNK) for batch in rows(first, first + _CHUNK).to_batches())
        table.append(pa.RecordBatchReader.from_batches(schema, chunks), run_key="stream")
        return peak_mb() - before


def local(folder: Path) -> Place:
    """SQLite and a folder."""
    return Place(f"sqlite:///{folder}/catalog.db", f"file://{folder}/warehouse")


def places(folder: Path, words: argparse.Namespace, postgres: EmbeddedPostgres) -> dict[str, Place]:
    """Where small commits are measured, by the suffix of their keys."""
    files = f"file://{folder}/warehouse"
    database = postgres.uri("bench", driver="postgresql+psycopg").get_secret_value()
    found = {"": local(folder), "_postgres": Place(database, files)}
    if words.rest:
        found["_rest"] = Place(words.rest, files)
    if words.s3:
        found["_s3"] = Place(f"sqlite:///{folder}/s3.db", words.warehouse, words.s3)
    return found


def options() -> argparse.Namespace:
    """The words of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rest", help="address of a REST catalog that keeps tables in folders of this machine")
    parser.add_argument("--s3", help="address of an S3 server")
    parser.add_argument("--warehouse", default="s3://lake/bench", help="where to write there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--stream", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and report."""
    words = options()
    if words.stream:
        print(stream(words.rows))
        return
    command = [sys.executable, "-m", "bench.append", "--stream", "--rows", str(10 * words.rows)]
    grown = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603
    figures = {"append_peak_mb": grown, "append_rows": float(words.rows)}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = side_by_side(local(folder), folder, rows(0, words.rows), words.rounds)
        figures |= {"append_s": ours[0], "append_cpu_s": ours[1]}
        figures |= {"append_pyiceberg_s": theirs[0], "append_pyiceberg_cpu_s": theirs[1]}
        ratios |= {"append_vs_pyiceberg": theirs[0] / ours[0]}
        postgres = EmbeddedPostgres(folder / "postgres")
        try:
            for suffix, place in places(folder, words, postgres).items():
                found, ratio = small_commits(place, folder, suffix)
                figures, ratios = figures | found, ratios | ratio
        finally:
            postgres.remove()
    report("append", figures, ratios, words.json)


if __name__ == "__main__":
    main()
