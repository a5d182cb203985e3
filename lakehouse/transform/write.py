"""One model's rows into its Iceberg table: compiled SQL on DuckDB, cast to the contract, streamed to the writer.

Knows no dbt: SQL that reads the lake's tables by name is enough. Which SQL, when, and on which branch is the caller's
choice. The rows of a daily table say how far they have followed what they were computed from; what that means is
`changes/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa

from lakehouse.changes.advance import advanced
from lakehouse.changes.edges import Edge
from lakehouse.errors import SchemaMismatch, TransformError
from lakehouse.iceberg import Commit, Lake, read_summary, snapshots_read
from lakehouse.iceberg.commits.intent import Promise
from lakehouse.tables import Column, Strategy, Table, Window
from lakehouse.tables.sql import quote
from lakehouse.tables.types import duckdb_type

MAIN = "main"
_BATCH_ROWS = 100_000


def write_model(  # noqa: PLR0913  (each says something about one write)
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    sql: str,
    *,
    window: Window | None,
    branch: str,
    run_key: str,
    edges: Sequence[Edge] = (),
) -> Commit:
    """Run `sql` and let its rows enter the table by the contract's strategy, as one commit on `branch`.

    The table and the branch are made when missing. `window` counts for the strategy `overwrite` only: these days are
    replaced, or the whole table when None. The commit names the snapshots that the SQL read, and says how far the table
    has followed its `edges` (none: it is computed as a whole). Runs on a cursor of its own, so that models may be
    written side by side on one connection. Raises SchemaMismatch when the columns are not the contract's or a required
    one holds NULL, TransformError when the SQL fails, and what LakeTable.append and LakeTable.overwrite raise.
    """
    cursor = connection.cursor()
    try:
        query = _conformed(table, sql, describe(cursor, str(table.name), sql))
        # What the connection's views are pinned to is what will be read, whatever happens to the tables meanwhile.
        read = snapshots_read(cursor, lake, query)
        target = lake.create(table)
        if branch != MAIN:
            target.create_branch(branch)
        scope = window if table.strategy is Strategy.OVERWRITE else None
        progress, expected = advanced(lake, cursor, edges, window=scope, read=read, branch=branch)
        promise: Promise = {
            "run_key": run_key,
            "branch": branch,
            "summary": read_summary(read),
            "progress": progress,
            "expected_progress": expected,
        }
        reader = _started(cursor, table, query)
        rows = pa.RecordBatchReader.from_batches(reader.schema, _checked(reader, table))
        if table.strategy is Strategy.APPEND:
            return target.append(rows, **promise)
        return target.overwrite(rows, where=scope, **promise)
    finally:
        cursor.close()


def save_view(lake: Lake, connection: duckdb.DuckDBPyConnection, schema: str, name: str, sql: str) -> None:
    """Make a view for the rest of this connection's life, and keep its SQL for all that come after.

    Raises TransformError when the SQL fails.
    """
    cursor = connection.cursor()
    try:
        describe(cursor, f"{schema}.{name}", sql)
        cursor.execute(f"create schema if not exists {quote(schema)}")
        cursor.execute(f"create or replace view {quote(schema)}.{quote(name)} as (\n{sql}\n)")
    finally:
        cursor.close()
    lake.views.save(schema, name, sql)


def describe(cursor: duckdb.DuckDBPyConnection, name: str, sql: str) -> tuple[str, ...]:
    """Names of the columns that `sql` yields, without running it.

    Raises TransformError with DuckDB's message, whose line numbers are those of `sql`.
    """
    try:
        return tuple(row[0] for row in cursor.execute(f"describe {sql}").fetchall())
    except duckdb.Error as error:
        raise _failed(name, error) from None


def _conformed(table: Table, sql: str, found: Sequence[str]) -> str:
    declared = table.stored_columns
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


def _cast(column: Column) -> str:
    return f"cast({quote(column.name)} as {duckdb_type(column.type)}) as {quote(column.name)}"


def _started(cursor: duckdb.DuckDBPyConnection, table: Table, query: str) -> pa.RecordBatchReader:
    try:
        return cursor.execute(query).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise _failed(str(table.name), error) from None


def _checked(reader: pa.RecordBatchReader, table: Table) -> Iterator[pa.RecordBatch]:
    """The batches; what DuckDB finds wrong half-way (a cast, a division) as our error; no NULL in a required column.

    The table's writer looks for NULL too, but only in columns that were required when the table was made.
    """
    required = [column.name for column in table.stored_columns if column.required]
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except (pa.ArrowException, OSError, duckdb.Error) as error:
            raise _failed(str(table.name), error) from None
        empty = {name: count for name in required if (count := batch.column(name).null_count)}
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
