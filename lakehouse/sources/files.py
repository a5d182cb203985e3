"""Rows from files in a landing folder or bucket: JSON lines, CSV and Parquet, plain or gzipped.

Load options: `files` (a pattern below the source's root, e.g. `payments/*.jsonl`), `format` (`jsonl`, `csv` or
`parquet`, where the name does not tell), `delimiter` (of CSV, default a comma). A file is known by path, size and
version (in a folder its time of change, on S3 its ETag); new and changed ones are read, whole, in order of their names.
Names that begin with "." are not looked at, so a writer finishes a file under such a name and renames it. The position
is `{"files": {path: [bytes, version]}}`. Listing and opening are the store's (`storage/`).
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

import pyarrow as pa

from lakehouse.errors import SourceChanged, SourceError, SourceRefused
from lakehouse.settings import FilesSource, Settings
from lakehouse.sources.arrivals import Arrival, day_of
from lakehouse.sources.csv_lines import csv_lines
from lakehouse.sources.json_lines import json_lines
from lakehouse.sources.options import Options
from lakehouse.sources.parquet import parquet_rows
from lakehouse.sources.reader import Broken, Chunk, Extract, SourceColumn
from lakehouse.storage.open import open_store
from lakehouse.tables import Position, Table, Window

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.storage import Store, StoredObject

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)
_SAMPLE_BYTES = 4096
_WILD = frozenset("*?[")


class FilesReader:
    """Reads the files of one pattern; on S3 through `client`, or one made from the settings."""

    def __init__(self, settings: Settings, source: FilesSource, table: Table, client: S3Client | None = None) -> None:
        self._options = Options.of(table, known={"files", "format", "delimiter"})
        self._store: Store = open_store(settings, source.root, client)
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

    def read(self, since: Position | None) -> Extract | None:
        """The files that are new or changed since; None if there are none. Raises SourceUnreachable."""
        known = self._known(since)
        fresh = {seen.path: _signature(seen) for seen in self._fresh(known)}
        if not fresh:
            return None
        return self._extract(fresh, {"files": {**known, **fresh}})

    def between(self, window: Window) -> Extract | None:
        """The files of these days (`arrivals.py`), whole; None if there are none. Raises SourceUnreachable."""
        days = {seen.path: (_signature(seen), day_of(seen.path, seen.modified)) for seen in self._files()}
        meant = {path: signature for path, (signature, day) in days.items() if window.start <= day < window.end}
        return self._extract(meant, {}) if meant else None

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
        """The columns of the last file's first chunk, with Arrow's types; of JSON lines each is `JSON`.

        Raises SourceChanged if there is no file.
        """
        files = list(self._files())
        if not files:
            raise SourceChanged(
                f"no file below {self._store.root} matches {self._pattern!r}",
                expected="at least one to sample",
                remedy="Mend the pattern, or put a file there.",
            )
        last = files[-1]
        first = next(iter(self._chunks(last.path, None, last.version)), Chunk(pa.table({}), ""))
        records = self._kind(last.path) == "jsonl"
        return tuple(
            SourceColumn(field.name, "JSON" if records else str(field.type), nullable=True)
            for field in first.rows.schema
        )

    def _known(self, since: Position | None) -> dict[str, object]:
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

    def _extract(self, files: Mapping[str, Sequence[int | str]], reached: Position) -> Extract:
        names = [column.name for column in self._table.source_columns]
        chunks = (chunk for path, (_, version) in files.items() for chunk in self._chunks(path, names, version))
        return Extract(chunks, reached, expected_bytes=sum(int(size) for size, _ in files.values()))

    def _fresh(self, known: Mapping[str, object]) -> Iterator[StoredObject]:
        return (seen for seen in self._files() if known.get(seen.path) != _signature(seen))

    def _files(self) -> Iterator[StoredObject]:
        """Every file of the pattern, by path."""
        fixed = "".join(takewhile(lambda letter: letter not in _WILD, self._pattern))
        wanted = self._pattern.split("/")
        listed = self._store.list(fixed, deep="/" in self._pattern.removeprefix(fixed))
        return (seen for seen in listed if _fits(seen.path.split("/"), wanted))

    def _chunks(self, path: str, names: Sequence[str] | None, version: int | str) -> Iterator[Chunk]:
        """The chunks of one file. What cannot be read of it is one broken record; what came before stays."""
        try:
            stored = self._store.open(path, version=version)
            with stored, _unzipped(stored, path, self._kind(path)) as stream:
                yield from self._parse(stream, path, names)
        except PermissionError:
            raise SourceRefused(f"{self._store.root}/{path} may not be read", remedy="Mend its permissions.") from None
        except _UNREADABLE as error:
            # An error with a number is the system's; Arrow and gzip raise OSError without one for contents they cannot
            # read.
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceChanged(
                    f"{self._store.root}/{path} could not be read to its end",
                    found=error.strerror,
                    remedy="Load again.",
                ) from None
            reason = f"the file cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            with self._store.open(path) as stored:
                head = stored.read(_SAMPLE_BYTES)
            yield Chunk(pa.table({}), path, (Broken(head, path, reason),))

    def _parse(self, stream: BinaryIO, path: str, names: Sequence[str] | None) -> Iterator[Chunk]:
        kind = self._kind(path)
        if kind == "parquet":
            return parquet_rows(stream, path, names)
        return csv_lines(stream, path, self._delimiter) if kind == "csv" else json_lines(stream, path, names)

    def _kind(self, path: str) -> str:
        kind = self._format or _FORMATS.get(Path(path.removesuffix(".gz")).suffix)
        if kind is None:
            raise self._options.wrong(
                "files",
                expected=f"files that end in {', '.join(_FORMATS)}, or with .gz behind it",
                found=path,
                remedy="State `format` in the contract's load, or narrow the pattern.",
            )
        return kind


def _signature(seen: StoredObject) -> list[int | str]:
    """What a file is known by in a position."""
    return [seen.size, seen.version]


def _fits(path: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path's parts fit a pattern's; `**` stands for any number of folders, none included."""
    if not pattern or not path:
        return not pattern and not path
    if pattern[0] == "**":
        return any(_fits(path[begin:], pattern[1:]) for begin in range(len(path)))
    return fnmatchcase(path[0], pattern[0]) and _fits(path[1:], pattern[1:])


@contextmanager
def _unzipped(stored: BinaryIO, path: str, kind: str) -> Iterator[BinaryIO]:
    """The file's bytes, unzipped; into a temporary file where the format jumps about in it."""
    if not path.endswith(".gz"):
        yield stored
        return
    with gzip.open(stored, "rb") as unzipped:
        if kind != "parquet":
            yield cast("BinaryIO", unzipped)
            return
        with tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(unzipped, whole)
            whole.seek(0)
            yield cast("BinaryIO", whole)
