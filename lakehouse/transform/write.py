"""One model's rows into its Iceberg table: compiled SQL on DuckDB, streamed to the writer, by the contract's strategy.

Knows no dbt: SQL that reads the lake's tables by name is enough. Which SQL, when, and on which branch is the caller's
choice. What columns the rows have is `arriving.py`. The rows of a daily table, and those that enter by key, say how far
they have followed what they were computed from: `changes/` and `changed_rows.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Unpack

import duckdb
import pyarrow as pa

from lakehouse.changes.advance import advanced
from lakehouse.changes.edges import Edge
from lakehouse.iceberg import Commit, Lake, LakeTable, content_summary, read_summary, snapshots_read
from lakehouse.iceberg.commits.intent import Promise
from lakehouse.tables import HistoryPolicy, MergePolicy, Strategy, Table, Window
from lakehouse.tables.sql import quote
from lakehouse.transform.arriving import arriving, conformed, describe
from lakehouse.transform.changed_rows import ChangedRows, ask_for_all

MAIN = "main"


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
    has followed its `edges` (none: it is computed as a whole). By `merge`, `delete+insert` and `scd2` it says so of all
    tables that were read, and SQL that asks `in_changes` is run for what changed since; nothing new, no commit.
    Runs on a cursor of its own, so that models may be written side by side on one connection. Raises SchemaMismatch
    when the columns are not the contract's or a required one holds NULL, TransformError when the SQL fails, and what
    the effect of the strategy raises.
    """
    cursor = connection.cursor()
    try:
        ask_for_all(cursor, sql)
        query = conformed(cursor, table, sql)
        # What the connection's views are pinned to is what will be read, whatever happens to the tables meanwhile.
        read = snapshots_read(cursor, lake, query)
        target = lake.create(table)
        if branch != MAIN:
            target.create_branch(branch)
        scope = window if table.strategy is Strategy.OVERWRITE else None
        if table.merge or table.history:
            progress, expected = ChangedRows(lake, cursor, table, sql, read, branch).follow()
        else:
            progress, expected = advanced(lake, cursor, edges, window=scope, read=read, branch=branch)
        promise: Promise = {
            "run_key": run_key,
            "branch": branch,
            # Who follows by days says it in progress.
            "summary": {**read_summary(read), **({} if edges else content_summary(lake, read))},
            "progress": progress,
            "expected_progress": expected,
        }
        rows = arriving(cursor, table, query)
        if table.merge is not None:
            return _by_key(target, table.strategy, table.merge, rows, cursor, **promise)
        if table.history is not None:
            return _versions(target, table.history, rows, cursor, **promise)
        if table.strategy is Strategy.APPEND:
            return target.append(rows, **promise)
        return target.overwrite(rows, where=scope, **promise)
    finally:
        cursor.close()


def _by_key(
    target: LakeTable,
    strategy: Strategy,
    policy: MergePolicy,
    rows: pa.RecordBatchReader,
    cursor: duckdb.DuckDBPyConnection,
    **promise: Unpack[Promise],
) -> Commit:
    if strategy is Strategy.DELETE_INSERT:
        return target.replace_keys(rows, key=policy.key, connection=cursor, **promise)
    return target.merge(
        rows,
        key=policy.key,
        connection=cursor,
        sequence=policy.sequence,
        deleted=policy.deleted,
        late=policy.late,
        **promise,
    )


def _versions(
    target: LakeTable,
    policy: HistoryPolicy,
    rows: pa.RecordBatchReader,
    cursor: duckdb.DuckDBPyConnection,
    **promise: Unpack[Promise],
) -> Commit:
    return target.history(
        rows,
        key=policy.key,
        effective=policy.valid_from,
        connection=cursor,
        tracked=policy.tracked or None,
        deleted=policy.deleted,
        complete=policy.complete,
        valid_from=policy.valid_from,
        valid_to=policy.valid_to,
        current=policy.current,
        surrogate=policy.surrogate,
        # Whoever has all that is known of a key needs not remember what was told twice.
        late=timedelta(0) if policy.complete else policy.late,
        **promise,
    )


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
