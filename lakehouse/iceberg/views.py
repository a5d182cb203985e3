"""View models: SQL that DuckDB runs over the lake's tables, kept beside the catalog so that every process sees it.

PyIceberg's SQL catalog has no views. What a view's SQL means is `transform/`; running it is `duck.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from lakehouse.iceberg.failures import catalog_errors

T = TypeVar("T")
_METADATA = MetaData()
_VIEWS = Table(
    "lakehouse_views",
    _METADATA,
    Column("catalog_name", String(255), primary_key=True),
    Column("view_schema", String(255), primary_key=True),
    Column("view_name", String(255), primary_key=True),
    Column("sql", Text, nullable=False),
)


class ViewStore:
    """The saved views of one catalog. Their table is made when it is first needed. Every method raises CatalogError."""

    def __init__(self, engine: Engine, catalog: str) -> None:
        self._engine = engine
        self._catalog = catalog

    def save(self, schema: str, name: str, sql: str) -> None:
        """Keep a view, in place of the one of that name."""
        row = {"catalog_name": self._catalog, "view_schema": schema, "view_name": name, "sql": sql}

        def replace(connection: Connection) -> None:
            connection.execute(delete(_VIEWS).where(*self._is(schema, name)))
            connection.execute(insert(_VIEWS).values(row))

        self._run(f"saving view {schema}.{name}", replace)

    def remove(self, schema: str, name: str) -> None:
        """Forget a view; nothing happens if there is none."""
        self._run(
            f"removing view {schema}.{name}",
            lambda connection: connection.execute(delete(_VIEWS).where(*self._is(schema, name))),
        )

    def all(self) -> list[tuple[str, str, str]]:
        """(schema, name, sql) of every view, by name."""
        order = (_VIEWS.c.view_schema, _VIEWS.c.view_name)
        wanted = select(*order, _VIEWS.c.sql).where(_VIEWS.c.catalog_name == self._catalog).order_by(*order)
        rows = self._run("reading the saved views", lambda connection: connection.execute(wanted).all())
        return [(row.view_schema, row.view_name, row.sql) for row in rows]

    def _run(self, doing: str, action: Callable[[Connection], T]) -> T:
        """In a transaction; once more after making the table, which is also right when another process was faster."""
        with catalog_errors(doing):
            try:
                return self._once(action)
            except (OperationalError, ProgrammingError, IntegrityError):
                # Two that make the table in the same moment: one of them is told so, and the table is there for both.
                with suppress(OperationalError, ProgrammingError, IntegrityError):
                    _METADATA.create_all(self._engine)
                return self._once(action)

    def _once(self, action: Callable[[Connection], T]) -> T:
        with self._engine.begin() as connection:
            return action(connection)

    def _is(self, schema: str, name: str) -> tuple[ColumnElement[bool], ...]:
        return (
            _VIEWS.c.catalog_name == self._catalog,
            _VIEWS.c.view_schema == schema,
            _VIEWS.c.view_name == name,
        )
