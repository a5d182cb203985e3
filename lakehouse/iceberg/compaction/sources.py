"""The rows of some data files as a relation of DuckDB, with their delete files applied and columns by field id.

DuckDB reads Parquet by itself where that is exact, else it is given the batches of our own reader. What is asked of the
relation does not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile, FileFormat
from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable
from pyiceberg.transforms import IdentityTransform

from lakehouse.errors import CatalogError, SchemaMismatch
from lakehouse.iceberg.reads.exact import position
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
_AS_WRITTEN = "hive_partitioning = false"
"""By itself DuckDB takes the name of a folder, `city=a+b` of "a b", for the value in the files below it."""
_HIDDEN = "lakehouse_hidden"
_STREAM = "lakehouse_rows"


class Sources:
    """Reads data files of one table, in its columns of now, named `c0`, `c1`, ... in their order."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, name: TableName, table: IcebergTable) -> None:
        self._connection = connection
        self._name = name
        self._table = table
        self._fields = table.schema().fields
        self.flat = all(field.field_type.is_primitive for field in self._fields)
        """Whether no column is nested: DuckDB finds columns by field id only at the top."""
        self._types = (
            {field.field_id: duckdb_type(str(field.field_type)) for field in self._fields} if self.flat else {}
        )
        self._names: dict[str, tuple[str, ...] | None] = {}
        """The names of the table's columns in files that hold all of them, in types of now."""

    def readable(self, files: Sequence[DataFile]) -> bool:
        """Whether DuckDB reads the files exactly: by field ids that all of them have, of types that it knows.

        It would show NULL for every column of a file without field ids, and for one that only the file's partition
        tells (Iceberg spec, "Column Projection"). Raises CatalogError.
        """
        if not self.flat or not all(
            file.file_format == FileFormat.PARQUET and may_be_named(file.file_path) for file in files
        ):
            return False
        found = self._columns([spelled(file.file_path) for file in files])
        self._names |= {path: self._named(columns) for path, columns in found.items()}
        return all(
            self._fits(file, {of: kind for of, (_, kind) in found.get(spelled(file.file_path), {}).items()})
            for file in files
        )

    @contextmanager
    def rows(self, tasks: Sequence[FileScanTask], hidden: Mapping[str, pa.Array], *, by_duckdb: bool) -> Iterator[str]:
        """A relation of the files' rows, less the hidden positions; for one query.

        Raises CatalogError, SchemaMismatch for text that is not UTF-8.
        """
        with duckdb_errors(f"compacting files of {self._name}"):
            if by_duckdb:
                with self._registered(_HIDDEN, _positions(hidden)):
                    yield self._relation([str(task.file.file_path) for task in tasks], hidden)
            else:
                with self._registered(_STREAM, self._stream(tasks)):
                    yield _STREAM

    def _stream(self, tasks: Sequence[FileScanTask]) -> pa.RecordBatchReader:
        schema = self._table.schema()
        arrow = arrow_of(schema, field_ids=False)
        names = [position(number) for number in range(len(arrow))]
        batches = read_files(State(self._name, self._table, None, schema), tasks, schema)
        renamed = pa.schema([field.with_name(name) for field, name in zip(arrow, names, strict=True)])
        return pa.RecordBatchReader.from_batches(renamed, (batch.rename_columns(names) for batch in batches))

    def _relation(self, paths: Sequence[str], hidden: Mapping[str, pa.Array]) -> str:
        whole = [path for path in paths if path not in hidden]
        partly = [path for path in paths if path in hidden]
        parts = [f"SELECT * FROM {self._files(whole)}"] if whole else []
        if partly:
            scan = self._files(partly, ", filename = true, file_row_number = true")
            parts.append(
                f"SELECT * EXCLUDE (filename, file_row_number) FROM {scan}"
                f" ANTI JOIN {_HIDDEN} USING (filename, file_row_number)"
            )
        return f"({' UNION ALL '.join(parts)})"

    def _files(self, paths: Sequence[str], options: str = "") -> str:
        listed = ", ".join(literal(spelled(path)) for path in paths)
        names = {self._names.get(spelled(path)) for path in paths}
        same = names.pop() if len(names) == 1 and not options else None
        if same is not None:
            # With a `schema` DuckDB reads a file by one thread only.
            renamed = ", ".join(f"{quote(name)} AS {position(number)}" for number, name in enumerate(same))
            return f"(SELECT {renamed} FROM read_parquet([{listed}], {_AS_WRITTEN}))"
        columns = ", ".join(
            f"{field.field_id}: {{'name': '{position(number)}', 'type': '{self._types[field.field_id]}',"
            " 'default_value': NULL}"
            for number, field in enumerate(self._fields)
        )
        return f"read_parquet([{listed}], schema = MAP {{{columns}}}, {_AS_WRITTEN}{options})"

    def _columns(self, paths: Sequence[str]) -> dict[str, dict[int | None, tuple[str, str | None]]]:
        """DuckDB's names and types of the columns of each file by field id; None stands for columns without one."""
        listed = ", ".join(map(literal, paths))
        found: dict[str, dict[int | None, tuple[str, str | None]]] = {}
        with duckdb_errors(f"reading files of {self._name}"):
            rows = self._connection.execute(
                f"SELECT file_name, field_id, name, duckdb_type FROM parquet_schema([{listed}])"
                " WHERE duckdb_type IS NOT NULL OR field_id IS NOT NULL"
            ).fetchall()
        for path, field_id, name, kind in rows:
            found.setdefault(path, {})[field_id] = (name, kind)
        return found

    def _named(self, columns: Mapping[int | None, tuple[str, str | None]]) -> tuple[str, ...] | None:
        names = [columns.get(field.field_id, ("", None)) for field in self._fields]
        as_now = all(kind == self._types[field.field_id] for field, (_, kind) in zip(self._fields, names, strict=True))
        # DuckDB takes names that differ in case only for one.
        told_apart = len({name.lower() for name, _ in columns.values()}) == len(columns)
        return tuple(name for name, _ in names) if as_now and told_apart and None not in columns else None

    def _fits(self, file: DataFile, columns: Mapping[int | None, str | None]) -> bool:
        if None in columns:
            return False
        spec = self._table.metadata.specs().get(file.spec_id)
        told = {of.source_id for of in spec.fields if isinstance(of.transform, IdentityTransform)} if spec else set()
        return all(
            _same_values(columns[field.field_id] or "", self._types[field.field_id])
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
        f"{path} holds a text that is not UTF-8, so its group of files is left alone",
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


def _positions(hidden: Mapping[str, pa.Array]) -> pa.Table:
    paths = [pa.array([spelled(path)]).take(pa.repeat(0, len(rows))) for path, rows in hidden.items()]
    return pa.table(
        {
            "filename": pa.chunked_array(paths, pa.string()),
            "file_row_number": pa.chunked_array(list(hidden.values()), pa.int64()),
        }
    )


def _same_values(found: str, wanted: str) -> bool:
    """Whether a type of a file holds no other values than the table's (Iceberg spec, "Schema Evolution")."""
    has, wants = _DECIMAL.fullmatch(found), _DECIMAL.fullmatch(wanted)
    if has and wants:
        return int(has[1]) <= int(wants[1]) and has[2] == wants[2]
    return found == wanted or (found, wanted) in _WIDER
