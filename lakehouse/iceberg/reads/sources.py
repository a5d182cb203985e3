"""The rows of some data files as a relation of DuckDB, with their delete files applied and columns by field id.

DuckDB reads Parquet by itself where that is exact, else it is given the batches of our own reader. What is asked of the
relation does not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np
import pyarrow as pa
from pyiceberg.manifest import DataFile, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform

from lakehouse.errors import CatalogError, SchemaMismatch
from lakehouse.iceberg.reads.exact import position
from lakehouse.iceberg.reads.footers import LINES, Columns, columns_of
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.storage.paths import is_s3, local_path, normalise
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal, quote
from lakehouse.tables.types import duckdb_type

_PATTERN = re.compile(r"[*?\[]")
"""In a path DuckDB takes these for a pattern of names, and on S3 a question mark for options."""
_NOT_TEXT = re.compile(r'Invalid string encoding found in Parquet file "([^"]*)"')
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
_WIDER = {("INTEGER", "BIGINT"), ("FLOAT", "DOUBLE")}
_HIDDEN = "lakehouse_hidden"
_STREAM = "lakehouse_rows"
_AT = ("file", "position")


class Sources:
    """Reads data files of one table, in its columns of now, named `c0`, `c1`, ... in their order."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        name: TableName,
        table: IcebergTable,
        columns: Sequence[str] | None = None,
        known: dict[str, Columns] | None = None,
    ) -> None:
        """`columns`: only these, in this order. `known`: what footers say, by path, which is added to."""
        self._connection = connection
        self._name = name
        self._table = table
        schema = table.schema()
        self._schema = schema if columns is None else Schema(*(schema.find_field(column) for column in columns))
        self._fields = self._schema.fields
        self._known: dict[str, Columns] = {} if known is None else known
        self.flat = all(field.field_type.is_primitive for field in self._fields)
        """Whether no column is nested: DuckDB finds columns by field id only at the top."""
        self._types = (
            {field.field_id: duckdb_type(str(field.field_type)) for field in self._fields} if self.flat else {}
        )

    @property
    def types(self) -> tuple[str, ...]:
        """DuckDB's types of the columns, none of which is nested."""
        return tuple(self._types.values())

    def only(self, columns: Sequence[str]) -> Sources:
        """The same for these columns of the table, in this order."""
        return Sources(self._connection, self._name, self._table, columns, self._known)

    def readable(self, files: Sequence[DataFile]) -> bool:
        """Whether DuckDB reads all of the files exactly. Raises CatalogError."""
        return all(self.readable_each(files))

    def readable_each(self, files: Sequence[DataFile]) -> list[bool]:
        """Whether DuckDB reads each file exactly: by field ids that all its columns have, of types that it knows.

        It would show NULL for every column of a file without field ids, and for one that only the file's partition
        tells (Iceberg spec, "Column Projection"). Raises CatalogError.
        """
        asked = [
            self.flat and file.file_format == FileFormat.PARQUET and may_be_named(file.file_path) for file in files
        ]
        self._learn([spelled(file.file_path) for file, ask in zip(files, asked, strict=True) if ask])
        return [ask and self._fits(file) for file, ask in zip(files, asked, strict=True)]

    @contextmanager
    def rows(self, tasks: Sequence[FileScanTask], hidden: Mapping[str, pa.Array], *, by_duckdb: bool) -> Iterator[str]:
        """A relation of the files' rows, less the hidden positions; for one query.

        Raises CatalogError, SchemaMismatch for text that is not UTF-8.
        """
        with duckdb_errors(f"reading files of {self._name}"):
            if by_duckdb:
                paths = [str(task.file.file_path) for task in tasks]
                with self._registered(_HIDDEN, _positions([path for path in paths if path in hidden], hidden)):
                    yield self._relation(paths, hidden)
            else:
                with self._registered(_STREAM, self._stream(tasks)):
                    yield _STREAM

    @contextmanager
    def numbered(
        self, files: Sequence[DataFile], hidden: Mapping[str, pa.Array], *, by_duckdb: bool, first: int = 0
    ) -> Iterator[str]:
        """A relation (file, position, c0, c1, ...) of the files' rows, less the hidden positions; for one query.

        The files are numbered in their order, from `first`; positions count the rows of a file from 0, hidden ones
        too. Raises CatalogError, SchemaMismatch for text that is not UTF-8.
        """
        paths = [str(file.file_path) for file in files]
        less = f"ANTI JOIN {_HIDDEN} USING ({', '.join(_AT)})" if any(path in hidden for path in paths) else ""
        with (
            duckdb_errors(f"reading files of {self._name}"),
            self._registered(_HIDDEN, _positions(paths, hidden, first)),
        ):
            if by_duckdb:
                yield f"(SELECT * FROM {self._files(paths, first)} {less})"
            else:
                with self._registered(_STREAM, self._counted(files, first)):
                    yield f"(SELECT * FROM {_STREAM} {less})"

    def _stream(self, tasks: Sequence[FileScanTask]) -> pa.RecordBatchReader:
        arrow = self._arrow()
        return pa.RecordBatchReader.from_batches(
            arrow, (batch.rename_columns(arrow.names) for batch in self._read(tasks))
        )

    def _counted(self, files: Sequence[DataFile], first: int) -> pa.RecordBatchReader:
        arrow = self._arrow()
        schema = pa.schema([pa.field("file", pa.int32()), pa.field("position", pa.int64()), *arrow])

        def batches() -> Iterator[pa.RecordBatch]:
            for number, file in enumerate(files, start=first):
                start = 0
                # Without delete files: those would shift what is counted.
                for batch in self._read([FileScanTask(file)]):
                    places = pa.array(np.arange(start, start + batch.num_rows))
                    numbers = pa.array(np.full(batch.num_rows, number, np.int32))
                    yield pa.RecordBatch.from_arrays([numbers, places, *batch.columns], schema=schema)
                    start += batch.num_rows

        return pa.RecordBatchReader.from_batches(schema, batches())

    def _read(self, tasks: Sequence[FileScanTask]) -> Iterator[pa.RecordBatch]:
        return read_files(State(self._name, self._table, None, self._table.schema()), tasks, self._schema)

    def _arrow(self) -> pa.Schema:
        arrow = arrow_of(self._schema, field_ids=False)
        return pa.schema([field.with_name(position(number)) for number, field in enumerate(arrow)])

    def _relation(self, paths: Sequence[str], hidden: Mapping[str, pa.Array]) -> str:
        whole = [path for path in paths if path not in hidden]
        partly = [path for path in paths if path in hidden]
        parts = [f"SELECT * FROM {self._files(whole)}"] if whole else []
        if partly:
            at = ", ".join(_AT)
            parts.append(f"SELECT * EXCLUDE ({at}) FROM {self._files(partly, 0)} ANTI JOIN {_HIDDEN} USING ({at})")
        return f"({' UNION ALL '.join(parts)})"

    def _files(self, paths: Sequence[str], first: int | None = None) -> str:
        """A relation of the files' columns, with the number of the file, counted from `first`, and the position."""
        listed = ", ".join(literal(spelled(path)) for path in paths)
        at = "" if first is None else f"(file_index + {first})::INTEGER AS file, file_row_number AS position, "
        names = {self._known[spelled(path)].named(self._types) for path in paths}
        same = names.pop() if len(names) == 1 else None
        # Values stand in the file: what folders say (`city=a+b`) is written for people.
        options = "hive_partitioning = false"
        if same is not None:
            # With a `schema` DuckDB reads a file by one thread only.
            renamed = ", ".join(f"{quote(name)} AS {position(number)}" for number, name in enumerate(same))
            return f"(SELECT {at}{renamed} FROM read_parquet([{listed}], {options}))"
        columns = ", ".join(
            f"{field.field_id}: {{'name': '{position(number)}', 'type': '{self._types[field.field_id]}',"
            " 'default_value': NULL}"
            for number, field in enumerate(self._fields)
        )
        return f"(SELECT {at}* FROM read_parquet([{listed}], schema = MAP {{{columns}}}, {options}))"

    def _learn(self, paths: Sequence[str]) -> None:
        """Read the footers that are not known yet."""
        if listed := ", ".join(literal(path) for path in dict.fromkeys(paths) if path not in self._known):
            with duckdb_errors(f"reading files of {self._name}"):
                self._known |= columns_of(self._connection.execute(LINES.format(paths=listed)).fetchall())

    def _fits(self, file: DataFile) -> bool:
        columns = self._known[spelled(file.file_path)].found
        if None in columns:
            return False
        spec = self._table.metadata.specs().get(file.spec_id)
        told = {of.source_id for of in spec.fields if isinstance(of.transform, IdentityTransform)} if spec else set()
        return all(
            _same_values(columns[field.field_id][1] or "", self._types[field.field_id])
            if field.field_id in columns
            else field.optional and field.field_id not in told
            for field in self._fields
        )

    @contextmanager
    def _registered(self, name: str, content: pa.Table | pa.RecordBatchReader) -> Iterator[None]:
        self._connection.register(name, content)
        try:
            yield
        finally:
            self._connection.unregister(name)


def spelled(path: str) -> str:
    """A file's path as DuckDB knows it: a local one without a scheme, `s3://` for S3."""
    place = normalise(path)
    return place if is_s3(place) else str(local_path(place))


def may_be_named(path: str) -> bool:
    """Whether DuckDB takes a path for the name of one file."""
    return _PATTERN.search(path) is None


def columns_as(fields: Sequence[str]) -> str:
    """The columns of a relation under the names of a schema."""
    return ", ".join(f"{position(number)} AS {quote(name)}" for number, name in enumerate(fields))


def not_text(path: str) -> SchemaMismatch:
    """The error for a text that is none; what it says is not told, for it may be about a person."""
    return SchemaMismatch(
        f"{path} holds a text that is not UTF-8, so none of its rows were touched",
        remedy="Let the program that wrote it write these rows anew, or replace them.",
    )


@contextmanager
def duckdb_errors(doing: str) -> Iterator[None]:
    """Turn what DuckDB raises of files into CatalogError and SchemaMismatch. `doing` ends the message."""
    try:
        yield
    except duckdb.Error as error:
        if found := _NOT_TEXT.search(str(error)):
            raise not_text(found[1]) from None
        raise CatalogError(
            f"DuckDB failed while {doing}",
            found=str(error).splitlines()[0],
            remedy="Nothing of it was committed. See whether the file is there and whole and DuckDB's memory limit is "
            "large enough, then run again.",
        ) from error


def _positions(paths: Sequence[str], hidden: Mapping[str, pa.Array], first: int = 0) -> pa.Table:
    """The hidden positions of files by the files' numbers."""
    found = [(number, hidden[path]) for number, path in enumerate(paths, start=first) if path in hidden]
    numbers = [pa.array(np.full(len(rows), number, np.int32)) for number, rows in found]
    return pa.table(
        {
            "file": pa.chunked_array(numbers, pa.int32()),
            "position": pa.chunked_array([rows for _, rows in found], pa.int64()),
        }
    )


def _same_values(found: str, wanted: str) -> bool:
    """Whether a type of a file holds no other values than the table's (Iceberg spec, "Schema Evolution")."""
    has, wants = _DECIMAL.fullmatch(found), _DECIMAL.fullmatch(wanted)
    if has and wants:
        return int(has[1]) <= int(wants[1]) and has[2] == wants[2]
    return found == wanted or (found, wanted) in _WIDER
