"""No proof, no commit: what the storage or an encoder does to rows is found before anything refers to it.

And when it is not known whether a commit landed, nothing is removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy.exc import OperationalError

from lakehouse.errors import CatalogError, CommitError, LakehouseError
from lakehouse.iceberg import CompactionStep, Lake, LakeTable, Phase
from lakehouse.iceberg.compaction import encoders, run
from lakehouse.storage.paths import local_path
from lakehouse.tables import Column, Layer, Table, TableName

Damage = Callable[[Path], None]
COLUMNS = (Column("id", "long"), Column("city", "string"), Column("amount", "double"))
FLAT = Table(TableName(Layer.GOLD, "flat"), "shop", "some rows", COLUMNS, Path("flat.yaml"))


def content(first: int, count: int = 3000) -> pa.Table:
    ids = range(first, first + count)
    cities = ["Berlin", None, "São Paulo", ""]
    return pa.table({"id": ids, "city": [cities[n % 4] for n in ids], "amount": [n / 7 for n in ids]})


@pytest.fixture(params=["by DuckDB", "by our writer"])
def table(request: pytest.FixtureRequest, lake: Lake) -> LakeTable:
    """Two files of 3,000 rows. Sorted tables are written by our own encoder."""
    made = lake.create(FLAT if request.param == "by DuckDB" else replace(FLAT, sort_by=("id",)))
    for number in range(2):
        made.append(content(3000 * number), run_key=f"{number}")
    return made


def rewritten(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """The file, with other rows."""

    def damage(file: Path) -> None:
        schema = pq.read_schema(file)
        pq.write_table(change(pq.read_table(file)).cast(schema), file, store_schema=False)

    return damage


def flip(file: Path) -> None:
    """Bits in the middle of a good file: its length and its footer stay as they were."""
    whole = bytearray(file.read_bytes())
    at = len(whole) // 3
    whole[at : at + 8] = bytes(byte ^ 0xFF for byte in whole[at : at + 8])
    file.write_bytes(whole)


def other(name: str, change: Callable[[pa.ChunkedArray], pa.ChunkedArray]) -> Damage:
    return rewritten(lambda rows: rows.set_column(rows.schema.get_field_index(name), name, change(rows[name])))


DAMAGES: dict[str, Damage] = {
    "bits flipped": flip,
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:-20]) and None,
    "lost": lambda file: file.unlink(),
    "a row less": rewritten(lambda rows: rows.slice(1)),
    "a row twice": rewritten(lambda rows: pa.concat_tables([rows, rows.slice(0, 1)])),
    "a row for another": rewritten(lambda rows: pa.concat_tables([rows.slice(1), rows.slice(1, 1)])),
    "NULL for an empty text": other("city", lambda city: pc.if_else(pc.equal(city, ""), None, city)),
    "values of two rows swapped": other(
        "amount", lambda amount: pa.chunked_array([amount[1:2].chunk(0), amount[:1].chunk(0), *amount[2:].chunks])
    ),
    "a number off by a bit": other("amount", lambda amount: pc.if_else(pc.equal(amount, 1 / 7), 1 / 7 + 1e-16, amount)),
    "zero without its sign": other("amount", lambda amount: pc.if_else(pc.equal(amount, 0.0), -0.0, amount)),
}


def folder_of(table: LakeTable) -> set[Path]:
    folder = local_path(table.live_files()[0].path).parent
    return set(folder.iterdir())


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_new_file_that_does_not_hold_the_rows_is_not_committed(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, damage: Damage
) -> None:
    """Ryft, "Corruption in the wild"; peers' compactions that lost rows found out from their users."""
    before, head = folder_of(table), table.snapshots()[0].id

    def storage(step: CompactionStep) -> None:
        if step.phase is Phase.WRITTEN:
            damage(local_path(step.files[0]))

    with pytest.raises((CommitError, CatalogError)) as caught:
        table.compact([[file.path for file in table.live_files()]], connection=duck, progress=storage)
    assert "Nothing" in caught.value.remedy
    assert table.snapshots()[0].id == head
    assert folder_of(table) == before


def test_a_reader_that_leaves_out_a_row_is_found_out(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake that both readings share is told by the metadata: as many rows must be read as are live."""
    honest = run.fingerprint

    def short(connection: duckdb.DuckDBPyConnection, relation: str, *more: object) -> object:
        return honest(connection, f"(FROM {relation} LIMIT 5999)", *more)  # type: ignore[arg-type]  # as there

    monkeypatch.setattr(run, "fingerprint", short)
    head = table.snapshots()[0].id
    with pytest.raises(CommitError, match="its metadata") as caught:
        table.compact([[file.path for file in table.live_files()]], connection=duck)
    assert "6000 rows" in str(caught.value.expected)
    assert table.snapshots()[0].id == head


def test_an_encoder_that_fails_leaves_no_file(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = folder_of(table)

    def fail(*_: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoders.FileMaker, "adopt", fail)
    monkeypatch.setattr(encoders.FileMaker, "close", fail)
    with pytest.raises((LakehouseError, OSError)):
        table.compact([[file.path for file in table.live_files()]], connection=duck)
    assert folder_of(table) == before


def test_a_batch_that_is_given_up_leaves_no_files(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    """Ctrl-C in the second group: the first is proved, but not committed yet."""
    before, head = folder_of(table), table.snapshots()[0].id

    def stop(step: CompactionStep) -> None:
        if step.group == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.compact([[file.path] for file in table.live_files()], connection=duck, progress=stop)
    assert folder_of(table) == before
    assert table.snapshots()[0].id == head


@pytest.mark.parametrize("landed", [True, False])
def test_files_stay_while_it_is_not_known_whether_the_commit_landed(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, landed: bool
) -> None:
    """Iceberg #2317, #14425: files of a commit that had landed were cleaned up as if it had failed."""
    honest = SqlCatalog.commit_table
    before, rows = folder_of(table), table.stats().rows

    def lost(self: SqlCatalog, *given: object) -> object:
        if landed:
            honest(self, *given)  # type: ignore[arg-type]  # those of the method
        monkeypatch.setattr(SqlCatalog, "load_table", gone)
        raise OperationalError("UPDATE", {}, Exception("connection lost"))

    def gone(*_: object) -> object:
        raise OperationalError("SELECT", {}, Exception("still no connection"))

    monkeypatch.setattr(SqlCatalog, "commit_table", lost)
    with pytest.raises(CatalogError):
        table.compact([[file.path for file in table.live_files()]], connection=duck)
    monkeypatch.undo()
    assert len(folder_of(table) - before) == 1
    assert len(table.live_files()) == (1 if landed else 2)
    assert table.scan().read_all().num_rows == rows


def test_it_works_in_little_memory(lake: Lake, duck: duckdb.DuckDBPyConnection) -> None:
    """In less than the 370 MiB that the rows take: what holds a whole group in memory would not do."""
    table = lake.create(replace(FLAT, columns=(Column("text", "string"),)))
    for number in range(6):
        first = 20_000 * number
        rows = duck.execute(
            f"SELECT repeat(md5(i::varchar), 100) AS text FROM range({first}, {first + 20_000}) t(i)"
        ).to_arrow_table()
        table.append(rows, run_key=f"{number}")
    duck.execute("SET memory_limit = '250MB'")
    duck.execute("SET threads = 1")
    done = table.compact([[file.path for file in table.live_files()]], connection=duck)
    assert (done.rows, done.files_after) == (120_000, 1)


def test_days_are_proved_one_by_one(lake: Lake, duck: duckdb.DuckDBPyConnection, orders: Table) -> None:
    """A wrong group does not take those of earlier batches with it."""
    columns = tuple(column for column in orders.columns if column.name in {"order_id", "order_date"})
    table = lake.create(replace(orders, columns=columns))
    for number in (1, 2):
        for day in (1, 2):
            rows = pa.table({"order_id": [10 * day + number], "order_date": [date(2026, 1, day)]})
            table.append(rows, run_key=f"{day} {number}")

    def storage(step: CompactionStep) -> None:
        if (step.phase, step.group) == (Phase.WRITTEN, 2):
            flip(local_path(step.files[0]))

    by_day: dict[str, list[str]] = {}
    for file in table.live_files():
        by_day.setdefault(file.partition, []).append(file.path)
    with pytest.raises((CommitError, CatalogError)):
        table.compact(list(by_day.values()), connection=duck, batch_bytes=1, progress=storage)
    assert len(table.live_files()) == 3
    assert sorted(table.scan().read_all()["order_id"].to_pylist()) == [11, 12, 21, 22]
