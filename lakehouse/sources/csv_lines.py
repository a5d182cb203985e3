"""CSV with a header: every field a text, an empty one NULL. Rows that do not fit the header are broken."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from lakehouse.sources.lines import BYTES, ROWS, Lines
from lakehouse.sources.reader import MAX_PAYLOAD, Broken, Chunk


class _Records(Iterator[str]):
    """The lines that the parser takes for one record: it may take several, where a quoted field has line ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = Lines(stream)
        self.begin()

    def begin(self) -> None:
        self.first = self._lines.number + 1
        self.raw = b""
        self.size = 0
        self.fault: str | None = None

    def __next__(self) -> str:
        line = next(self._lines)
        self.size += len(self._lines.raw)
        if len(self.raw) < MAX_PAYLOAD:
            self.raw += self._lines.raw
        self.fault = self.fault or self._lines.fault
        return line


def csv_lines(stream: BinaryIO, path: str, delimiter: str) -> Iterator[Chunk]:
    """The chunks of a file. Coordinates are `path:line`, the line that the record begins on."""
    records = _Records(stream)
    # strict: a stray or unclosed quote is an error, not a guess.
    parser = csv.reader(records, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    rows: list[list[str]] = []
    sources: list[str] = []
    broken: list[Broken] = []
    size = 0
    for fields, fault in _parsed(parser, records):
        source = f"{path}:{records.first}"
        size += records.size
        if header is None:
            wrong = fault or _wrong_header(fields)
            if wrong is not None:
                yield Chunk(pa.table({}), source, (Broken(records.raw, source, f"the header cannot be used: {wrong}"),))
                return
            header = fields
        elif fault is not None or len(fields) != len(header):
            error = fault or f"{len(fields)} fields where the header has {len(header)}"
            broken.append(Broken(records.raw, source, error, records.size))
        else:
            rows.append(fields)
            sources.append(source)
        if len(rows) + len(broken) >= ROWS or size >= BYTES:
            yield _chunk(header, rows, sources, broken)
            rows, sources, broken, size = [], [], [], 0
    if header is not None and (rows or broken):
        yield _chunk(header, rows, sources, broken)


def _parsed(parser: Iterator[list[str]], records: _Records) -> Iterator[tuple[list[str], str | None]]:
    while True:
        records.begin()
        try:
            fields = next(parser)
        except StopIteration:
            return
        except csv.Error as error:
            yield [], records.fault or f"not CSV: {error}"
            continue
        if fields or records.fault is not None:
            yield fields, records.fault


def _wrong_header(names: list[str]) -> str | None:
    if len(set(names)) != len(names):
        return "a name stands in it twice"
    return "a name in it is empty" if "" in names else None


def _chunk(header: list[str], rows: list[list[str]], sources: list[str], broken: list[Broken]) -> Chunk:
    columns = zip(*rows, strict=True) if rows else ([] for _ in header)
    arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
    return Chunk(pa.table(arrays, names=header), pa.chunked_array([sources], pa.string()), tuple(broken))
