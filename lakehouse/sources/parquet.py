"""Parquet files: typed columns as they are, row numbers as coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pyarrow as pa
from pyarrow import parquet

from lakehouse.sources.lines import ROWS
from lakehouse.sources.reader import Chunk


def parquet_rows(stream: BinaryIO, path: str, names: Sequence[str] | None) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns wanted, as far as the file has them. Coordinates are `path:row`."""
    with parquet.ParquetFile(stream) as file:
        has = file.schema_arrow.names
        wanted = [name for name in has if names is None or name in names]
        first = 1
        for batch in file.iter_batches(batch_size=ROWS, columns=wanted):
            numbers = range(first, first + batch.num_rows)
            sources = pa.chunked_array([[f"{path}:{number}" for number in numbers]], pa.string())
            yield Chunk(pa.Table.from_batches([batch]), sources)
            first += batch.num_rows
