"""Rows from files in a landing folder: JSON lines, CSV and Parquet, plain or gzipped.

Load options: `files` (a pattern below the source's root, e.g. `payments/*.jsonl`), `format` (`jsonl`, `csv` or
`parquet`, where the name does not tell), `delimiter` (of CSV, default a comma). A file is known by path, size and time
of change; new and changed ones are read, whole, in order of their names. Names that begin with "." are not looked at,
so a writer finishes a file under such a name and renames it. The position is `{"files": {path: [bytes,
nanoseconds]}}`.
"""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from lakehouse.errors import SettingsError, SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.settings import FilesSource, Settings
from lakehouse.sources.csv_lines import csv_lines
from lakehouse.sources.json_lines import json_lines
from lakehouse.sources.options import Options
from lakehouse.sources.parquet import parquet_rows
from lakehouse.sources.reader import Broken, Chunk, Extract, SourceColumn
from lakehouse.tables import Position, Table

_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".parquet": "parquet"}
_UNREADABLE = (OSError, EOFError, zlib.error, pa.ArrowException)
_SAMPLE_BYTES = 4096


class FilesReader:
    """Reads the files of one pattern."""

    def __init__(self, settings: Settings, source: FilesSource, table: Table) -> None:
        self._options = Options.of(table, known={"files", "format", "delimiter"})
        if "://" in source.root:
            raise SettingsError(
                f"the root of source {self._options.policy.source!r} is not a folder",
                expected="a path, relative to the state folder or absolute",
                found=source.root,
                remedy="Name a folder; object stores are not read yet.",
            )
        self._root = settings.state / source.root
        self._table = table
        self._pattern = self._options.text("files")
        if self._pattern.startswith("/") or ".." in Path(self._pattern).parts:
            raise self._options.wrong(
                "files", expected="a pattern below the source's root", found=self._pattern, remedy="Mend it."
            )
        self._format = self._options.optional("format")
        if self._format not in {None, *_FORMATS.values()}:
            raise self._options.wrong(
                "format", expected="jsonl, csv or parquet", found=self._format, remedy="Name one of these."
            )
        self._delimiter = self._options.text("delimiter", ",")

    def read(self, since: Position | None) -> Extract | None:
        """The files that are new or changed since; None if there are none. Raises SourceUnreachable."""
        known = self._known(since)
        fresh = {path: signature for path, signature in self._files() if known.get(path) != signature}
        if not fresh:
            return None
        names = [column.name for column in self._table.columns]
        chunks = (chunk for path in fresh for chunk in self._chunks(path, names))
        return Extract(chunks, {"files": {**known, **fresh}})

    def columns(self) -> tuple[SourceColumn, ...]:
        """The columns of the last file's first chunk, with Arrow's types. Raises SourceChanged if there is no file."""
        files = [path for path, _ in self._files()]
        if not files:
            raise SourceChanged(
                f"no file below {self._root} matches {self._pattern!r}",
                expected="at least one to sample",
                remedy="Mend the pattern, or put a file there.",
            )
        first = next((chunk for chunk in islice(self._chunks(files[-1], None), 1)), Chunk(pa.table({}), ""))
        return tuple(SourceColumn(field.name, str(field.type), nullable=True) for field in first.rows.schema)

    def _known(self, since: Position | None) -> dict[str, object]:
        if since is None:
            return {}
        files = since.get("files")
        if isinstance(files, dict):
            return files
        raise SourceError(
            f"the stored position of {self._table.name} is not one of files",
            expected='{"files": {path: [bytes, nanoseconds]}}',
            found=repr(since)[:200],
            remedy="The table was loaded from another kind of source before: drop it, or restore its contract.",
        )

    def _files(self) -> Iterator[tuple[str, object]]:
        if not self._root.is_dir():
            raise SourceUnreachable(
                f"the folder {self._root} of source {self._options.policy.source!r} is not there",
                remedy="Create it, or mend `root` of the source in the settings.",
            )
        for file in sorted(self._root.glob(self._pattern)):
            path = file.relative_to(self._root)
            if any(part.startswith(".") for part in path.parts) or not file.is_file():
                continue
            state = file.stat()
            yield path.as_posix(), [state.st_size, state.st_mtime_ns]

    def _chunks(self, path: str, names: Sequence[str] | None) -> Iterator[Chunk]:
        """The chunks of one file. What cannot be read of it is one broken record; what came before stays."""
        try:
            with _opened(self._root / path, seekable=self._kind(path) == "parquet") as stream:
                yield from self._parse(stream, path, names)
        except PermissionError:
            raise SourceRefused(f"{self._root / path} may not be read", remedy="Mend its permissions.") from None
        except _UNREADABLE as error:
            # An error with a number is the system's; Arrow and gzip raise OSError without one for contents they cannot
            # read.
            if isinstance(error, OSError) and error.errno is not None:
                raise SourceChanged(
                    f"{self._root / path} could not be read to its end", found=error.strerror, remedy="Load again."
                ) from None
            reason = f"the file cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
            yield Chunk(pa.table({}), path, (Broken(_head(self._root / path), path, reason),))

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


@contextmanager
def _opened(file: Path, *, seekable: bool) -> Iterator[BinaryIO]:
    """The file's bytes, unzipped; into a temporary file where the format jumps about in it."""
    if file.suffix != ".gz":
        with file.open("rb") as plain:
            yield plain
        return
    with gzip.open(file, "rb") as unzipped:
        if not seekable:
            yield cast("BinaryIO", unzipped)
            return
        with tempfile.TemporaryFile() as whole:
            shutil.copyfileobj(unzipped, whole)
            whole.seek(0)
            yield cast("BinaryIO", whole)


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_SAMPLE_BYTES)
