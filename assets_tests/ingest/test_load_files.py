"""Loads of files that grow, go bad or change under the reader: each row once, and nothing of a load that failed."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from assets_tests.ingest.payments import QUARANTINE, balanced, ids, rows
from lakehouse.errors import SourceChanged
from lakehouse.iceberg import Lake
from lakehouse.ingest import load
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Table

CLOCK = iter(range(10**15, 10**18, 10**9))


@pytest.fixture
def table(make_table: Callable[..., Table]) -> Table:
    return make_table({"payment_id": "string"}, options={"files": "*"}, reject_limit=1.0)


@pytest.fixture
def landing(sources: Settings) -> Path:
    return sources.state / "landing"


def put(file: Path, content: bytes, *, more: bool = False) -> None:
    with file.open("ab" if more else "wb") as stream:
        stream.write(content)
    os.utime(file, ns=(1, next(CLOCK)))


def test_a_file_that_grows_enters_once(sources: Settings, lake: Lake, table: Table, landing: Path) -> None:
    file = landing / "a.jsonl"
    put(file, b'{"payment_id": "P1"}\nbroken\n{"payment_id": "P2"}\n{"paym')
    first = load(sources, lake, table, run_id="1")
    assert (first.rows_read, first.rows_published, first.rows_quarantined) == (4, 2, 2)
    put(file, b'ent_id": "P3"}\n{"payment_id": "P4"}', more=True)
    second = load(sources, lake, table, run_id="2")
    assert (second.rows_read, second.rows_published) == (2, 2)
    os.utime(file, ns=(1, next(CLOCK)))
    touched = load(sources, lake, table, run_id="3")
    assert (touched.rows_read, balanced(touched)) == (0, True)
    assert load(sources, lake, table, run_id="4").commit is None
    assert ids(lake, table) == ["P1", "P2", "P3", "P4"]
    assert sorted(str(row["source"]) for row in rows(lake, QUARANTINE)) == ["a.jsonl:2", "a.jsonl:4"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_load_during_which_its_file_is_replaced_leaves_nothing(
    sources: Settings, lake: Lake, table: Table, landing: Path, name: str
) -> None:
    def deliver(line: bytes) -> None:
        put(landing / name, (gzip.compress if name.endswith("gz") else bytes)(line * 100_000))

    deliver(b'{"payment_id": "old"}\n')
    with pytest.raises(SourceChanged, match="was changed"):
        load(sources, lake, table, run_id="1", on_progress=lambda *_: deliver(b'{"payment_id": "new"}\n'))
    assert lake.table(table.name).progress(LOAD_SCOPE) is None
    assert rows(lake, table.name) == []
    load(sources, lake, table, run_id="2")
    assert set(ids(lake, table)) == {"new"}


def test_files_that_break_off_are_quarantined_and_hold_nothing_back(
    sources: Settings, lake: Lake, table: Table, landing: Path
) -> None:
    put(landing / "a.jsonl.gz", gzip.compress(b"".join(b'{"payment_id": "A%d"}\n' % n for n in range(20_000)))[:-2000])
    parquet.write_table(pa.table({"payment_id": ["B"] * 1000}), landing / "b.parquet", compression="none")
    damaged = bytearray((landing / "b.parquet").read_bytes())
    damaged[4:40] = bytes(36)
    put(landing / "b.parquet", bytes(damaged))
    put(landing / "c.csv", b'payment_id\n"C1\n')
    put(landing / "d.jsonl", b'{"payment_id": "D1"}\n')
    assert open_source(sources, table).pending(None)
    result = load(sources, lake, table, run_id="1")
    assert balanced(result)
    loaded = ids(lake, table)
    assert loaded[-1] == "D1"
    assert len(loaded) > 1000
    refused = {str(row["source"]): str(row["error"]) for row in rows(lake, QUARANTINE)}
    assert set(refused) == {"a.jsonl.gz", "b.parquet", "c.csv:2"}
    assert refused["a.jsonl.gz"].startswith("the file cannot be read: ")
