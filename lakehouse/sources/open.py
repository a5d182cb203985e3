"""The reader of a table: its source's kind decides. A new kind of source is one module and one line here.

Or no line at all: a source whose kind is `package.module:Class` is read by that class (`own.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lakehouse.errors import ContractError
from lakehouse.settings import FilesSource, OwnSource, PostgresSource, Settings
from lakehouse.sources.files import FilesReader
from lakehouse.sources.http import HttpReader
from lakehouse.sources.own import own_reader
from lakehouse.sources.postgres import FullReader, WatermarkReader, XminReader
from lakehouse.sources.reader import SourceReader
from lakehouse.tables import Table

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_POSTGRES: Mapping[str, Callable[[Settings, PostgresSource, Table], SourceReader]] = {
    "xmin": XminReader,
    "full": FullReader,
}
"""What `watermark` may say instead of a column."""


def open_source(settings: Settings, table: Table, *, s3: S3Client | None = None) -> SourceReader:
    """The reader for the table's load policy. Opens no connection yet. `s3` reads files on S3, if they are there.

    Raises ContractError if the table declares none, names a source that the settings do not have, or has wrong options.
    """
    name = table.load.source if table.load is not None else ""
    source = settings.sources.get(name)
    if source is None:
        raise ContractError(
            f"{table.file}: {table.name} loads from {name!r}, which is no source of this project",
            expected=f"one of {', '.join(sorted(settings.sources)) or 'none configured'}",
            remedy=f"Add [tool.lakehouse.sources.{name or '<name>'}], or name another in the contract's load.",
        )
    if isinstance(source, PostgresSource):
        way = str(table.load.options.get("watermark")) if table.load is not None else ""
        return _POSTGRES.get(way, WatermarkReader)(settings, source, table)
    if isinstance(source, FilesSource):
        return FilesReader(settings, source, table, s3)
    if isinstance(source, OwnSource):
        return own_reader(settings, name, source, table)
    return HttpReader(settings, source, table)
