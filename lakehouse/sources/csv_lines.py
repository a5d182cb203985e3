"""CSV with a header: every field a text, an empty one NULL. Rows that do not fit the header are broken."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import pyarrow as pa

from lakehouse.sources.lines import BREAKS, BYTES, Lines, TextFile, placed
from lakehouse.sources.reader import MAX_PAYLOAD, Broken, Chunk


class _Records(Iterator[str]):
    """The lines that the parser takes for one record: it may take several, where a quoted field has line ends."""

    def __init__(self, stream: BinaryIO, file: TextFile) -> None:
        self._lines, self._file = Lines(stream, file), file
        self.begin()

    def begin(self) -> None:
        self.first = self._lines.number + 1
        self.at = 0
        self.raw = b""
        self.size = 0
        self.fault: str | None = None

    @property
    def source(self) -> str:
        """The coordinates of the record."""
        return f"{self._file.path}:{self.first}"

    @property
    def last(self) -> int:
        """The number of the record's last line."""
        return self._lines.number

    @property
    def end(self) -> int:
        """Where the record's last line ends."""
        return self._lines.end

    def broken(self, error: str) -> Broken:
        """The record as one that cannot be used."""
        return Broken(self.raw, self.source, placed(error, self.first, self.at), self.size)

    def __next__(self) -> str:
        line = next(self._lines)
        if not self.size:
            self.at = self._lines.at
        self.size += len(self._lines.raw)
        if len(self.raw) < MAX_PAYLOAD:
            self.raw += self._lines.raw
        self.fault = self.fault or self._lines.fault
        return line


class _Batch:
    """Rows on their way into one chunk."""

    def __init__(self, header: Sequence[str], names: Sequence[str] | None, ignore: Collection[str]) -> None:
        self._header = header
        wanted = {*ignore, *(header if names is None else names)}
        self._unnamed = [place for place, name in enumerate(header) if name not in wanted]
        self.start()

    def start(self) -> None:
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self.broken: list[Broken] = []
        self.size = 0

    @property
    def count(self) -> int:
        return len(self.rows) + len(self.broken)

    def chunk(self) -> Chunk:
        columns = zip(*self.rows, strict=True) if self.rows else ([] for _ in self._header)
        arrays = [pa.array([value or None for value in column], pa.string()) for column in columns]
        rows, sources = pa.table(arrays, names=list(self._header)), pa.chunked_array([self.sources], pa.string())
        extra = pa.chunked_array([list(map(self._extra, self.rows))], pa.string()) if self._unnamed else None
        return Chunk(rows, sources, tuple(self.broken), extra=extra)

    def _extra(self, row: Sequence[str]) -> str | None:
        found = {self._header[place]: row[place] for place in self._unnamed if row[place]}
        return json.dumps(found, ensure_ascii=False) if found else None


def csv_lines(
    stream: BinaryIO, file: TextFile, names: Sequence[str] | None, ignore: Collection[str] = ()
) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns that the contract has, `ignore` those it does not want to know of.

    Coordinates are `path:line`, the line that the record begins on.
    """
    records = _Records(stream, file)
    # strict: a stray or unclosed quote is an error, not a guess.
    parsed = _parsed(csv.reader(records, delimiter=file.delimiter, strict=True), records)
    header = file.header
    if header is None:
        fields, fault = next(parsed, ([], None))
        if not fields and fault is None:
            return
        wrong = fault or _wrong_header(fields)
        if wrong is not None:
            broken = records.broken(f"the header cannot be used: {wrong}")
            yield Chunk(pa.table({}), records.source, (broken,))
            return
        header = tuple(fields)
    batch = _Batch(header, names, ignore)
    try:
        for fields, fault in parsed:
            batch.size += records.size
            if fault is not None or len(fields) != len(header):
                batch.broken.append(records.broken(fault or f"{len(fields)} fields where the header has {len(header)}"))
            else:
                batch.rows.append(fields)
                batch.sources.append(records.source)
            if batch.count >= file.rows or batch.size >= BYTES:
                yield batch.chunk()
                batch.start()
    except BREAKS:
        if batch.count:
            yield batch.chunk()
        raise
    if batch.count:
        yield batch.chunk()


def behind_header(stream: BinaryIO, file: TextFile) -> TextFile:
    """The file from behind its header, where the stream stands then.

    The header is empty when there is no record at all, and None when it is one that `csv_lines` refuses.
    """
    records = _Records(stream, file)
    parser = csv.reader(records, delimiter=file.delimiter, strict=True)
    fields, fault = next(_parsed(parser, records), ([], None))
    usable = fault is None and _wrong_header(fields) is None
    return replace(file, header=tuple(fields) if usable else None, lines=records.last, at=records.end)


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


def _wrong_header(names: Sequence[str]) -> str | None:
    if len(set(names)) != len(names):
        return "a name stands in it twice"
    return "a name in it is empty" if "" in names else None
