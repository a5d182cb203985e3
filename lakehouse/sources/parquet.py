"""Parquet files: typed columns as they are, row numbers as coordinates."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import parquet

from lakehouse.sources.lines import ROWS
from lakehouse.sources.reader import Chunk


def parquet_rows(
    stream: BinaryIO, path: str, names: Sequence[str] | None, ignore: Collection[str] = ()
) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns that the contract has, `ignore` those that are not even read.

    Coordinates are `path:row`. Raises ArrowException for what cannot be read.
    """
    with parquet.ParquetFile(stream) as file:
        has = file.schema_arrow.names
        if len(set(has)) != len(has):
            message = "a column's name stands in it twice"
            raise pa.ArrowInvalid(message)
        unnamed = [name for name in has if names is not None and name not in names and name not in ignore]
        first = 1
        for batch in file.iter_batches(batch_size=ROWS, columns=[name for name in has if name not in ignore]):
            # Arrow takes any bytes for a text, and others would stumble over them.
            batch.validate(full=True)
            sources = pa.array([f"{path}:{number}" for number in range(first, first + batch.num_rows)], pa.string())
            extra = _extra(batch.select(unnamed)) if unnamed else None
            yield Chunk(pa.Table.from_batches([batch]), pa.chunked_array([sources]), extra=extra)
            first += batch.num_rows
        if first - 1 != file.metadata.num_rows:
            # Arrow reads a file with some damaged bytes without a word, and hands over less.
            message = f"{first - 1} rows can be read where its footer tells of {file.metadata.num_rows}"
            raise pa.ArrowInvalid(message)


def parquet_count(stream: BinaryIO) -> int:
    """The rows of a file, as its footer tells. Raises ArrowException."""
    with parquet.ParquetFile(stream) as file:
        return int(file.metadata.num_rows)


def _extra(unnamed: pa.RecordBatch) -> pa.ChunkedArray:
    """The values of each row as a JSON object, without NULLs; what JSON has no form for as text."""
    found = ({name: value for name, value in row.items() if value is not None} for row in unnamed.to_pylist())
    return pa.chunked_array([[_text(row) if row else None for row in found]], pa.string())


def _text(row: dict[str, object]) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError:
        return json.dumps({name: str(value) for name, value in row.items()}, ensure_ascii=False)


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
