"""The rows that a model's SQL yields: the contract's columns in its types, with a value where there must be one.

How they enter the table is `write.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import SchemaMismatch, TransformError
from lakehouse.tables import Column, Table
from lakehouse.tables.sql import quote
from lakehouse.tables.types import duckdb_type

_BATCH_ROWS = 100_000


def describe(cursor: duckdb.DuckDBPyConnection, name: str, sql: str) -> tuple[str, ...]:
    """Names of the columns that `sql` yields, without running it.

    Raises TransformError with DuckDB's message, whose line numbers are those of `sql`.
    """
    try:
        return tuple(row[0] for row in cursor.execute(f"describe {sql}").fetchall())
    except duckdb.Error as error:
        raise _failed(name, error) from None


def conformed(cursor: duckdb.DuckDBPyConnection, table: Table, sql: str) -> str:
    """The SQL whose columns are those that rows arrive with, in their order and types.

    Raises SchemaMismatch when `sql` yields others, TransformError when it is wrong.
    """
    found = describe(cursor, str(table.name), sql)
    declared = _columns(table)
    missing = [column.name for column in declared if column.name not in found]
    extra = [name for name in found if name not in {column.name for column in declared}]
    if missing or extra:
        parts = [f"no {', '.join(missing)}"] if missing else []
        parts += [f"{', '.join(extra)} besides"] if extra else []
        raise SchemaMismatch(
            f"the columns of the model {table.name} are not its contract's",
            expected=", ".join(column.name for column in declared),
            found=" and ".join(parts),
            remedy=f"Mend the model's SQL or {table.file}.",
        )
    body = sql.rstrip().rstrip(";")
    return f"select {', '.join(_cast(column) for column in declared)} from (\n{body}\n) as model"


def arriving(cursor: duckdb.DuckDBPyConnection, table: Table, query: str) -> pa.RecordBatchReader:
    """The rows of a conformed query, streamed.

    Raises TransformError when the SQL fails, at once or half-way, SchemaMismatch for NULL in a required column.
    """
    try:
        reader = cursor.execute(query).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise _failed(str(table.name), error) from None
    return pa.RecordBatchReader.from_batches(reader.schema, _checked(reader, table))


def _columns(table: Table) -> tuple[Column, ...]:
    """The columns that rows arrive with: those stored, less what is computed from them, and the mark of a deletion."""
    computed = {} if table.history is None else table.history.computed
    stored = tuple(column for column in table.stored_columns if column.name not in computed)
    mark = _mark(table)
    return stored if mark is None else (*stored, Column(mark, "boolean"))


def _mark(table: Table) -> str | None:
    """The column that is true in rows which say that their key is gone."""
    policy = table.merge or table.history
    return None if policy is None else policy.deleted


def _cast(column: Column) -> str:
    return f"cast({quote(column.name)} as {duckdb_type(column.type)}) as {quote(column.name)}"


def _checked(reader: pa.RecordBatchReader, table: Table) -> Iterator[pa.RecordBatch]:
    """The batches; what DuckDB finds wrong half-way (a cast, a division) as our error; no NULL in a required column.

    The table's writer looks for NULL too, but only in columns that were required when the table was made. A row that
    deletes needs no more than its key, which the writer asks for.
    """
    required = [column.name for column in _columns(table) if column.required]
    mark = _mark(table)
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, duckdb.Error) as error:
            raise _failed(str(table.name), error) from None
        staying = batch if mark is None else batch.filter(pc.invert(pc.fill_null(batch.column(mark), fill_value=False)))
        empty = {name: count for name in required if (count := staying.column(name).null_count)}
        if empty:
            raise SchemaMismatch(
                f"the model {table.name} yields NULL in required columns",
                expected="a value in every row",
                found=", ".join(f"{count} NULL in {name}" for name, count in empty.items()),
                remedy=f"Mend the model's SQL, or drop `required` from {table.file}.",
            )
        yield batch


def _failed(name: str, error: Exception) -> TransformError:
    return TransformError(f"the SQL of {name} fails", found=str(error).strip(), remedy="Mend the model's SQL.")
