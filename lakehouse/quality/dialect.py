"""DuckDB for SQLAlchemy, as far as Great Expectations needs it: over a connection that is there, and never to write.

It presents itself as PostgreSQL, whose SQL Great Expectations knows how to write and DuckDB mostly reads; what differs
is compiled differently here. Which queries are asked does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import duckdb
from sqlalchemy import Engine, create_engine, types
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.base import PGCompiler, PGDialect, PGIdentifierPreparer
from sqlalchemy.pool import StaticPool

_SCHEME = "lakehouse.duckdb"
_TYPES: dict[str, type[types.TypeEngine[Any]]] = {
    "BIGINT": types.BigInteger,
    "INTEGER": types.Integer,
    "DOUBLE": types.Double,
    "FLOAT": types.Float,
    "DECIMAL": types.Numeric,
    "VARCHAR": types.String,
    "DATE": types.Date,
    "TIME": types.Time,
    "TIMESTAMP": types.DateTime,
    "TIMESTAMP WITH TIME ZONE": types.DateTime,
    "BOOLEAN": types.Boolean,
    "UUID": types.Uuid,
    "BLOB": types.LargeBinary,
}


def engine_over(connection: duckdb.DuckDBPyConnection) -> Engine:
    """An engine whose every query runs on this connection, one at a time. Closing it leaves the connection open."""
    registry.register(_SCHEME, __name__, "DuckDialect")
    return create_engine("lakehouse+duckdb://", creator=lambda: _Connection(connection), poolclass=StaticPool)


class _Compiler(PGCompiler):
    """PostgreSQL's `~` finds a pattern anywhere; DuckDB's wants all of the value to match."""

    def visit_custom_op_binary(self, element: Any, operator: Any, **kw: Any) -> str:  # noqa: ANN401  (SQLAlchemy's)
        """Both signs of a regular expression."""
        if operator.opstring not in {"~", "!~"}:
            return str(super().visit_custom_op_binary(element, operator, **kw))  # type: ignore[no-untyped-call]  # theirs
        found = f"regexp_matches({self.process(element.left, **kw)}, {self.process(element.right, **kw)})"
        return found if operator.opstring == "~" else f"(NOT {found})"


class _Preparer(PGIdentifierPreparer):
    """Every name in quotes: DuckDB has reserved words that PostgreSQL has not, such as `at`."""

    def _requires_quotes(self, value: str) -> bool:  # noqa: ARG002  (SQLAlchemy's signature)
        return True


class DuckDialect(PGDialect):
    """The dialect: DuckDB's parameters and catalog, no transactions, no server to ask for its version."""

    driver = "duckdb"
    statement_compiler = _Compiler
    preparer = _Preparer
    default_paramstyle = "qmark"
    supports_statement_cache = True
    supports_server_side_cursors = False
    # DuckDB divides integers as people do; PostgreSQL's dialect would cast to a decimal of three digits first.
    div_is_floordiv = False

    @classmethod
    def import_dbapi(cls) -> ModuleType:
        """The module whose exceptions SQLAlchemy knows."""
        return duckdb

    def initialize(self, connection: Any) -> None:  # noqa: ANN401, ARG002  (SQLAlchemy's signature)
        """Nothing to ask."""
        self.server_version_info = (16, 0)  # type: ignore[assignment]  # declared as None, set by every dialect
        self.default_schema_name = "main"

    def do_begin(self, dbapi_connection: Any) -> None:  # noqa: ANN401  (SQLAlchemy's signature)
        """No transactions: everything only reads."""

    do_commit = do_rollback = do_begin

    def get_columns(  # type: ignore[override]  # a list of dicts to its users, a TypedDict to its types
        self,
        connection: Any,  # noqa: ANN401  (SQLAlchemy's signature)
        table_name: str,
        schema: str | None = None,
        **_kw: object,
    ) -> list[dict[str, object]]:
        """The columns of a table or view."""
        sql = (
            "select column_name, data_type from duckdb_columns() "
            "where schema_name = ? and table_name = ? order by column_index"
        )
        rows = connection.exec_driver_sql(sql, (schema or "main", str(table_name)))
        return [
            {
                "name": name,
                "type": _TYPES.get(kind.partition("(")[0], types.NullType)(),
                "nullable": True,
                "default": None,
            }
            for name, kind in rows
        ]

    def get_pk_constraint(
        self,
        connection: Any,  # noqa: ANN401, ARG002  (SQLAlchemy's signature)
        table_name: str,  # noqa: ARG002
        schema: str | None = None,  # noqa: ARG002
        **_kw: object,
    ) -> Any:  # noqa: ANN401
        """Views have none."""
        return {"constrained_columns": [], "name": None}


class _Connection:
    """A DBAPI connection that is somebody else's."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck

    def cursor(self) -> _Cursor:
        return _Cursor(self._duck)

    def close(self) -> None:
        """Its owner closes it."""


class _Cursor:
    """A DBAPI cursor that has all its rows at once: Great Expectations fetches when the connection is given back."""

    arraysize = 1

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self.description: Sequence[Any] | None = None
        self.rowcount = -1

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._duck.execute(sql, list(parameters))
        self.description = self._duck.description
        rows = self._duck.fetchall()
        self.rowcount = len(rows)
        self._rows = iter(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        return [row for row, _ in zip(self._rows, range(size or self.arraysize), strict=False)]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._rows)

    def close(self) -> None:
        self._rows = iter(())
