"""Read-only SQL over the lake. How rows are shown belongs in `cli/`; how views come to be in `duck.py`."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from lakehouse.errors import QueryError
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.duck import connect, register
from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.refs.at import At
from lakehouse.settings import Settings

_READING = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def run_query(
    settings: Settings,
    sql: str,
    parameters: Sequence[object] = (),
    *,
    at: At = MAIN,
) -> pa.Table:
    """The rows of one statement that only reads, over every table of the lake.

    A branch or tag is read where a table has it, a time everywhere. Raises QueryError for SQL that is wrong, writes, or
    is several statements.
    """
    with connect(settings) as connection:
        try:
            statements = connection.extract_statements(sql)
            if len(statements) != 1 or statements[0].type not in _READING:
                raise QueryError(
                    "this SQL does more than read",
                    expected="one SELECT statement",
                    found=", ".join(statement.type.name for statement in statements) or "nothing",
                    remedy="Tables are written by materializing their assets.",
                )
            register(connection, Lake.open(settings), at=at)
            return connection.execute(statements[0], list(parameters)).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(
                f"the query fails: {str(error).strip()}",
                remedy="Run `lakehouse table list` for the tables there are, `table show NAME` for their columns.",
            ) from None
