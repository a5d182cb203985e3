"""Rows of twelve columns by their ids, which rows change, and the table that they are merged into.

The same rows as those that PyIceberg's recorded 263 s are about. What is measured with them does not belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Layer, Table, TableName

FILES = 11
_TYPES = {"id": "long", "customer_id": "long", "order_ts": "timestamp", "order_date": "date", "status": "string"}
_TYPES |= {"amount": "double", "qty": "int", "country": "string", "product": "string", "email": "string"}
_TYPES |= {"note": "string", "updated_at": "timestamp"}
_STATUS = ["new", "paid", "shipped", "returned", "cancelled"]
_COUNTRIES = [f"C{number:02}" for number in range(50)]
_PRODUCTS = [f"product-{number:05}" for number in range(10_000)]
_CUSTOMERS, _USERS = 500_000, 2_000_000
_DAY_US = 86_400_000_000
_2025_US = 1_735_689_600_000_000
_STEP_US, _YEAR_US = 6_300_000, 365 * _DAY_US
_NOTE_LETTERS = 24
_UPDATED_SHARE = 0.9


def rows(ids: npt.NDArray[np.int64], seed: int) -> pa.Table:
    """A row for each id. Its times and date follow from the id, the rest from the seed."""
    random, count = np.random.default_rng(seed), len(ids)
    at = _2025_US + (ids * _STEP_US) % _YEAR_US

    def one_of(values: Sequence[str]) -> pa.Array:
        return pa.array(values).take(pa.array(random.integers(0, len(values), count)))

    users = pc.cast(pa.array(random.integers(0, _USERS, count)), pa.string())
    letters = np.frombuffer(b"0123456789abcdef", np.uint8)[random.integers(0, 16, (count, _NOTE_LETTERS), np.uint8)]
    ends = np.arange(count + 1, dtype=np.int32) * _NOTE_LETTERS
    return pa.table(
        {
            "id": ids,
            "customer_id": random.integers(0, _CUSTOMERS, count),
            "order_ts": pa.array(at, pa.timestamp("us")),
            "order_date": pa.array((at // _DAY_US).astype(np.int32), pa.date32()),
            "status": one_of(_STATUS),
            "amount": np.round(random.random(count) * 1000, 2),
            "qty": random.integers(1, 20, count).astype(np.int32),
            "country": one_of(_COUNTRIES),
            "product": one_of(_PRODUCTS),
            "email": pc.binary_join_element_wise(pa.scalar("user"), users, pa.scalar("@example.com"), ""),
            "note": pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(letters.tobytes())),
            "updated_at": pa.array(np.full(count, _2025_US + _YEAR_US + seed), pa.timestamp("us")),
        }
    )


def changed(total: int, count: int, *, seed: int, among: int | None = None) -> pa.Table:
    """Rows for `count` different ids: nine of ten from the last `among` of the `total` (default: all), others new."""
    random = np.random.default_rng(seed)
    updated = int(count * _UPDATED_SHARE)
    old = random.choice(among or total, updated, replace=False) + (total - (among or total))
    return rows(np.concatenate([old, np.arange(total, total + count - updated)]).astype(np.int64), seed)


def put(content: pa.Table, file: Path) -> None:
    """Rows as a file, from which every writer takes them."""
    pq.write_table(content, file, compression="zstd")


def settings_of(folder: Path) -> Settings:
    """A lake in a folder, on SQLite."""
    return load_settings(Path.cwd(), state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})


def make(settings: Settings, name: TableName, total: int, files: int) -> LakeTable:
    """A table of the ids from 0, a file for each append."""
    columns = tuple(Column(column, kind) for column, kind in _TYPES.items())
    table = Lake.open(settings).create(Table(name, "bench", "benchmark", columns, Path(__file__)))
    for number, ids in enumerate(np.array_split(np.arange(total), files)):
        table.append(rows(ids, number), run_key=f"file {number}")
    return table


def named(name: str) -> TableName:
    """A table of the benchmark."""
    return TableName(Layer.SILVER, name)
