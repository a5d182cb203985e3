"""Rows from files in a landing folder or bucket: JSON lines, CSV and Parquet, plain or packed.

Load options: `files` (a pattern below the source's root, e.g. `payments/*.jsonl`), `format` (`jsonl`, `csv` or
`parquet`, where the name does not tell), `delimiter` (of CSV, default a comma), `encoding` (of text, default UTF-8),
`ignore` (fields that nobody wants to keep), `settle` and `marker` (`landed.py`). A file is known by path, size and
version (in a folder its time of change, on S3 its ETag); new and changed ones are read, in order of their names: whole,
or the lines that a text file in a folder has grown by (`grown.py`). Names that begin with "." are not looked at. The
position is `{"files": {path: [bytes, version, ...]}}`. Listing and opening are the store's (`storage/`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa

from lakehouse.errors import SourceChanged, SourceError, SourceRefused
from lakehouse.settings import FilesSource, Settings
from lakehouse.sources.arrivals import Arrival, day_of
from lakehouse.sources.csv_lines import csv_lines
from lakehouse.sources.grown import Known, Part, count_packed, exactly, part_of, remembered, signature
from lakehouse.sources.json_lines import json_lines
from lakehouse.sources.landed import Landed
from lakehouse.sources.lines import BREAKS, UTF8, TextFile
from lakehouse.sources.options import Options
from lakehouse.sources.parquet import parquet_count, parquet_rows
from lakehouse.sources.reader import Broken, Chunk, Extract, SourceColumn
from lakehouse.sources.unpacked import PACKED, plain_name, unpacked
from lakehouse.storage import FolderStore
from lakehouse.storage.open import open_store
from lakehouse.tables import Position, Table, Window

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.storage import Store, StoredObject

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_UNREADABLE = (*BREAKS, pa.ArrowException, UnicodeDecodeError)
_SAMPLE_BYTES, _SAMPLE_ROWS = 4096, 10_000
_WILD = frozenset("*?[")
_ASCII = bytes(range(128))
_KNOWN = {"files", "format", "delimiter", "encoding", "ignore", "settle", "marker"}


class FilesReader:
    """Reads the files of one pattern; on S3 through `client`, or one made from the settings."""

    def __init__(self, settings: Settings, source: FilesSource, table: Table, client: S3Client | None = None) -> None:
        self._options = Options.of(table, known=_KNOWN)
        self._store: Store = open_store(settings, source.root, client)
        self._in_folder = isinstance(self._store, FolderStore)
        self._landed = Landed(self._options, source, folder=self._in_folder)
        self._table = table
        self._pattern = self._options.text("files")
        if self._pattern.startswith("/") or ".." in Path(self._pattern).parts:
            raise self._options.wrong(
                "files", expected="a pattern below the source's root", found=self._pattern, remedy="Mend it."
            )
        # As a path is spelled: no `.` and no `//` in it.
        self._pattern = str(PurePosixPath(self._pattern))
        self._format = self._options.optional("format")
        if self._format not in {None, *_FORMATS.values()}:
            raise self._options.wrong(
                "format", expected="jsonl, csv or parquet", found=self._format, remedy="Name one of these."
            )
        self._delimiter = self._options.text("delimiter", ",")
        self._ignore = frozenset(self._options.names("ignore"))
        self._encoding = self._checked_encoding()

    def read(self, since: Position | None) -> Extract | None:
        """The files that are new or changed since; None if there are none. Raises SourceUnreachable, SourceChanged."""
        known = self._known(since)
        time.sleep(self._landed.patience(self._listed()).total_seconds())
        parts = [self._part(seen, known.get(seen.path)) for seen in self._fresh(known)]
        if not parts:
            return None
        return self._extract(parts, {**known, **{part.seen.path: part.known for part in parts}})

    def between(self, window: Window) -> Extract | None:
        """The files of these days (`arrivals.py`), whole; None if there are none."""
        days = set(window.days)
        parts = [self._part(seen, None) for seen in self._files() if day_of(seen.path, seen.modified) in days]
        return self._extract(parts, {part.seen.path: part.known for part in parts}) if parts else None

    def pending(self, since: Position | None) -> bool:
        """Whether a file is new or changed since: the place is listed, no file is opened."""
        return any(True for _ in self._fresh(self._known(since)))

    def arrivals(self) -> list[Arrival]:
        """Every file that is there, by path, with its day. Raises SourceUnreachable, SourceRefused."""
        return [
            Arrival(seen.path, seen.size, seen.version, day_of(seen.path, seen.modified), seen.modified)
            for seen in self._files()
        ]

    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns of the last file's first rows, with Arrow's types; of JSON lines each is `JSON`.

        Raises SourceChanged if there is no file.
        """
        # Half a file will do for a sample, where there is no whole one yet.
        files = list(self._files()) or [seen for seen in self._listed() if self._fits(seen.path)]
        if not files:
            raise SourceChanged(
                f"no file below {self._store.root} matches {self._pattern!r}",
                expected="at least one to sample",
                remedy="Mend the pattern, or put a file there.",
            )
        part = Part(files[-1], replace(self._text(files[-1].path), rows=_SAMPLE_ROWS), signature(files[-1]))
        first = next(iter(self._chunks(part, None)), Chunk(pa.table({}), ""))
        records = self._kind(part.seen.path) == "jsonl"
        return tuple(
            SourceColumn(field.name, "JSON" if records else str(field.type), nullable=True)
            for field in first.rows.schema
        )

    def _extract(self, parts: Sequence[Part], files: dict[str, Known]) -> Extract:
        names = [column.name for column in self._table.source_columns]
        counts = [part.records for part in parts if part.records is not None]

        def chunks() -> Iterator[Chunk]:
            for part in parts:
                for chunk in self._chunks(part, names):
                    if any(record.source == part.seen.path for record in chunk.broken):
                        # Nobody knows how many records the one stands for that is the file.
                        extract.expected_rows = None
                    yield chunk

        total = sum(counts) if len(counts) == len(parts) else None
        size = sum(part.seen.size - part.text.at for part in parts)
        extract = Extract(chunks(), {"files": remembered(files)}, total, expected_bytes=size)
        return extract

    def _known(self, since: Position | None) -> dict[str, Known]:
        if since is None:
            return {}
        files = since.get("files")
        if isinstance(files, dict):
            return files
        raise SourceError(
            f"the stored position of {self._table.name} is not one of files",
            expected='{"files": {path: [bytes, version]}}',
            found=repr(since)[:200],
            remedy="The table was loaded from another kind of source before: drop it, or restore its contract.",
        )

    def _fresh(self, known: Mapping[str, Known]) -> Iterator[StoredObject]:
        return (seen for seen in self._files() if known.get(seen.path, [])[:2] != signature(seen))

    def _files(self) -> Iterator[StoredObject]:
        """Every whole file of the pattern, by path."""
        return self._landed.whole(self._listed(), self._fits)

    def _listed(self) -> Iterable[StoredObject]:
        fixed = "".join(takewhile(lambda letter: letter not in _WILD, self._pattern))
        deep = "/" in self._pattern.removeprefix(fixed)
        return self._store.list(fixed[: fixed.rfind("/") + 1] if self._landed.marked else fixed, deep=deep)

    def _fits(self, path: str) -> bool:
        return _fits(path.split("/"), self._pattern.split("/"))

    def _part(self, seen: StoredObject, before: Known | None) -> Part:
        """What is to be read of a file, its records counted where it costs little."""
        kind, text = self._kind(seen.path), self._text(seen.path)
        unseen = Part(seen, text, signature(seen))
        packed = plain_name(seen.path) != seen.path
        if packed if kind == "parquet" else not self._in_folder:
            return unseen
        try:
            with self._told(seen.path), self._store.open(seen.path, version=seen.version) as stored:
                if kind == "parquet":
                    return Part(seen, text, signature(seen), parquet_count(stored))
                if not packed:
                    return part_of(stored, seen, text, kind, before)
                with unpacked(stored, seen.path, jumps=False) as stream:
                    return Part(seen, text, signature(seen), count_packed(stream, text, kind))
        except _UNREADABLE:
            # What is wrong with it is said when it is read.
            return unseen

    def _chunks(self, part: Part, names: Sequence[str] | None) -> Iterator[Chunk]:
        """The chunks of one file. What cannot be read of it is one broken record; what came before stays."""
        path = part.seen.path
        try:
            with self._told(path), self._opened(part) as stream:
                yield from self._parse(stream, part.text, names)
        except _UNREADABLE as error:
            reason = f"the file cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            with self._store.open(path) as stored:
                head = stored.read(_SAMPLE_BYTES)
            yield Chunk(pa.table({}), path, (Broken(head, path, reason),))

    @contextmanager
    def _opened(self, part: Part) -> Iterator[BinaryIO]:
        """The bytes of a file. Raises SourceChanged when they are not what was listed, or do not stay so."""
        path, version = part.seen.path, part.seen.version
        if part.digest is not None:
            # It may have grown since: what it has more is read by the next load.
            with self._store.open(path) as stored, exactly(stored, part, self._store.root) as stream:
                yield stream
            return
        with (
            self._store.open(path, version=version) as stored,
            unpacked(stored, path, jumps=self._kind(path) == "parquet") as stream,
        ):
            yield stream
            if self._in_folder and os.fstat(stored.fileno()).st_mtime_ns != version:
                raise SourceChanged(f"{path} in {self._store.root} was changed while it was read", remedy="Load again.")

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """The system's errors in our words; those of contents that cannot be read are left as they are."""
        try:
            yield
        except PermissionError:
            raise SourceRefused(f"{self._store.root}/{path} may not be read", remedy="Mend its permissions.") from None
        except OSError as error:
            # An error with a number is the system's; Arrow and gzip raise OSError without one.
            if error.errno is None:
                raise
            raise SourceChanged(
                f"{self._store.root}/{path} could not be read to its end", found=error.strerror, remedy="Load again."
            ) from None

    def _parse(self, stream: BinaryIO, text: TextFile, names: Sequence[str] | None) -> Iterator[Chunk]:
        kind = self._kind(text.path)
        if kind == "parquet":
            return parquet_rows(stream, text.path, names, self._ignore)
        lines = csv_lines if kind == "csv" else json_lines
        return lines(stream, text, names, self._ignore)

    def _text(self, path: str) -> TextFile:
        return TextFile(path, self._encoding, self._delimiter)

    def _kind(self, path: str) -> str:
        kind = self._format or _FORMATS.get(Path(plain_name(path)).suffix)
        if kind is None:
            raise self._options.wrong(
                "files",
                expected=f"files that end in {', '.join(_FORMATS)}, or with {', '.join(PACKED)} behind it",
                found=path,
                remedy="State `format` in the contract's load, or narrow the pattern.",
            )
        return kind

    def _checked_encoding(self) -> str:
        """The encoding of text: one whose lines end as those of ASCII do, for they are found before it is decoded."""
        encoding = self._options.text("encoding", UTF8).lower()
        try:
            if _ASCII.decode(encoding).encode() == _ASCII:
                return UTF8 if encoding in {"utf8", "utf_8", "utf-8-sig"} else encoding
        except (LookupError, UnicodeError):
            pass
        raise self._options.wrong(
            "encoding",
            expected="one that has ASCII in it, as utf-8, latin-1, cp1252 and shift_jis do",
            found=encoding,
            remedy="Name the one of the files; convert those of UTF-16 before they land.",
        )


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's parts fit a pattern's; `**` stands for any number of folders, none included."""
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] == "**":
        return any(_fits(path[begin:], pattern[1:]) for begin in range(len(path)))
    return fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])
