"""The steps of the benchmark of loads, each the work of a process of its own: `python -m bench.ingest_steps STEP ...`.

A step prints a JSON object of what it took. What is made of the figures does not belong here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import duckdb
import psycopg
import pyarrow.parquet as pq

from bench import ingest_tables as tables
from bench.relay import relay
from bench.report import peak_mb
from lakehouse.iceberg import Lake
from lakehouse.ingest import Door, load
from lakehouse.settings import PostgresSource, Settings
from lakehouse.sources import Chunk
from lakehouse.sources.open import open_source
from lakehouse.sources.postgres.catalog import Relation, columns
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.types import retype, select_list
from lakehouse.tables import Table, TableName

Found = dict[str, float]

_ROWS = 1_000_000
_ROUNDS = 5


def bare(folder: Path) -> Found:
    """The table through ADBC into one Parquet file, by the same SQL; nothing is checked, nothing is committed."""
    settings, file = tables.settings_of(folder, "bare"), folder / "bare.parquet"
    source = settings.sources["tpch"]
    assert isinstance(source, PostgresSource)  # noqa: S101  (for the type checker)
    address, relation = Address.of(settings, source, "tpch"), Relation.parse("public.lineitem")
    with catalogue(address) as connection:
        found = columns(connection, relation)
    with _spent() as spent, closing(Stream(address)) as stream:
        writer, rows = None, 0
        for batch in stream.batches(f"select {select_list(found)} from {relation.sql}"):
            chunk = retype(batch, found)
            writer = writer or pq.ParquetWriter(file, chunk.schema, compression="zstd", compression_level=1)
            writer.write_table(chunk)
            rows += len(chunk)
        if writer is not None:
            writer.close()
    file.unlink()
    return {**spent, "rows": float(rows)}


def loaded(folder: Path, name: TableName) -> Found:
    """One load of a table, to what is new in its source."""
    settings = tables.settings_of(folder)
    lake, table = Lake.open(settings), tables.declared(settings, name)
    with _spent() as spent:
        done = load(settings, lake, table, run_id="bench")
    return {**spent, "rows": float(done.rows_read), "published": float(done.rows_published)}


def rules(folder: Path) -> Found:
    """CPU seconds that ten row rules take at the door, beyond those of the same contract without them.

    Both doors are given the same chunks, held in memory, in turn; the medians of several rounds are compared.
    """
    settings = tables.settings_of(folder)
    plain, ruled = (tables.declared(settings, name) for name in (tables.LINEITEM, tables.RULED))
    if len(ruled.rules) != len(plain.rules) + tables.RULES:
        sys.exit(f"the door knows {len(ruled.rules)} rules of {ruled.name}, and {len(plain.rules)} of {plain.name}")
    chunks = _some(settings, plain)
    rows = sum(chunk.count for chunk in chunks)
    took: Mapping[TableName, list[float]] = {plain.name: [], ruled.name: []}
    with Door(plain) as without, Door(ruled) as with_rules:
        for _ in range(_ROUNDS):
            for table, door in ((plain, without), (ruled, with_rules)):
                cpu = time.process_time()
                passed = sum(door.split(chunk, datetime.now(UTC), "bench").accepted.num_rows for chunk in chunks)
                took[table.name].append(time.process_time() - cpu)
                if passed != rows:
                    sys.exit(f"{rows - passed} rows break the contract of {table.name}; none was to")
    bare = median(took[plain.name])
    return {"cpu_s": median(took[ruled.name]) - bare, "door_cpu_s": bare, "rows": float(rows)}


def _some(settings: Settings, table: Table) -> list[Chunk]:
    """The first rows of a table's source, as they come to the door."""
    extract = open_source(settings, table).read(None)
    assert extract is not None  # noqa: S101  (for the type checker: the table has rows)
    chunks, rows = list[Chunk](), 0
    with closing(extract):
        for chunk in extract.chunks:
            chunks.append(chunk)
            rows += chunk.count
            if rows >= _ROWS:
                break
    return chunks


def compare(folder: Path) -> Found:
    """Whether bronze has, of each key, the row that PostgreSQL has now: ends this process if not."""
    lake = Lake.open(tables.settings_of(folder))
    figures = "count(*), sum(l_orderkey), sum(l_extendedprice * l_linenumber), sum(length(l_comment))"
    latest = "qualify row_number() over (partition by l_orderkey, l_linenumber order by updated_at desc) = 1"
    with duckdb.connect(":memory:") as connection, psycopg.connect(tables.uri(folder)) as source:
        connection.register("bronze", lake.table(tables.LINEITEM).scan())
        ours = connection.execute(f"select {figures} from (from bronze {latest})").fetchall()[0]
        theirs = source.execute(f"select {figures} from lineitem".encode()).fetchall()[0]
    if [str(figure) for figure in ours] != [str(figure) for figure in theirs]:
        sys.exit(f"the rows differ: bronze has {ours}, PostgreSQL {theirs}")
    return {"rows": float(ours[0])}


def apart(step: str, folder: Path) -> Found:
    """A step in a process of its own: what it says, and the seconds from start to end (`process_s`)."""
    return _said([sys.executable, "-m", "bench.ingest_steps", step, str(folder)])


def dlt(folder: Path, backend: str) -> Found:
    """A load of the same table by dlt, with one of its backends."""
    # connectorx knows no unix sockets; both get the same.
    with relay(tables.socket(folder)) as port:
        uri = f"postgresql://postgres@127.0.0.1:{port}/{tables.DATABASE}"
        command = [tables.PEER.program("python"), "-m", "bench.ingest_dlt", uri, folder / f"dlt-{backend}", backend]
        return _said([str(word) for word in command])


def _said(command: list[str]) -> Found:
    began = time.perf_counter()
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603  (ourselves, or a peer)
    wall = time.perf_counter() - began
    return {**json.loads(answer.stdout.splitlines()[-1]), "process_s": wall}


@contextmanager
def _spent() -> Iterator[Found]:
    """Wall and CPU seconds (of all threads) of a block."""
    found = Found()
    wall, cpu = time.perf_counter(), time.process_time()
    yield found
    found |= {"s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


STEPS: Mapping[str, Callable[[Path], Found]] = {
    "bare": bare,
    "load": lambda folder: loaded(folder, tables.LINEITEM),
    "lines": lambda folder: loaded(folder, tables.LINES),
    "rules": rules,
    "compare": compare,
}


def main() -> None:
    """Do one step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("folder", type=Path)
    words = parser.parse_args()
    found = STEPS[words.step](words.folder)
    # Both are of the process from its beginning.
    print(json.dumps(found | {"process_cpu_s": time.process_time(), "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
