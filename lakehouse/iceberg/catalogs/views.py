"""View models: SQL that DuckDB runs over the lake's tables, kept with the catalog so that every process sees it.

In a SQL catalog they are a table beside the catalog's. In a REST catalog they are properties of namespaces, not
Iceberg's own views: those need a schema, which is known only where the SQL is bound; a server refuses one that has a
table's name, which is what a table model that became a view has; and PyIceberg 0.12.0 cannot replace one. What a view's
SQL means is `transform/`; running it is `duck.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, NoSuchNamespaceError
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


_PREFIX = "lakehouse.view."
# Catalogs that keep properties in a database (Iceberg's own among them) hold 1,000 characters of each.
_PIECE = 900


class Views(Protocol):
    """The saved views of one catalog. Every method raises CatalogError."""

    def save(self, schema: str, name: str, sql: str) -> None:
        """Keep a view, in place of the one of that name."""

    def remove(self, schema: str, name: str) -> None:
        """Forget a view; nothing happens if there is none."""

    def all(self) -> list[tuple[str, str, str]]:
        """(schema, name, sql) of every view, by name."""


class SqlViews:
    """Views in a table of the catalog's database, made when it is first needed."""

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


class RestViews:
    """Views in properties of the namespace that is their schema, in pieces: `lakehouse.view.<name>.<piece>`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def save(self, schema: str, name: str, sql: str) -> None:
        """Keep a view, in place of the one of that name, in one request. Its namespace is made if need be."""
        pieces = [sql[at : at + _PIECE] for at in range(0, len(sql), _PIECE)]
        wanted = {f"{_PREFIX}{name}.{number}": piece for number, piece in enumerate(pieces)}
        with catalog_errors(f"saving view {schema}.{name}"):
            held = self._held(schema)
            if held is None:
                with suppress(NamespaceAlreadyExistsError):
                    self._catalog.create_namespace(schema)
            stale = set(_pieces(held or {}, name)) - set(wanted)
            self._catalog.update_namespace_properties(schema, removals=stale, updates=wanted)

    def remove(self, schema: str, name: str) -> None:
        """Forget a view; nothing happens if there is none."""
        with catalog_errors(f"removing view {schema}.{name}"):
            stale = _pieces(self._held(schema) or {}, name)
            if stale:
                self._catalog.update_namespace_properties(schema, removals=set(stale))

    def all(self) -> list[tuple[str, str, str]]:
        """(schema, name, sql) of every view, by name."""
        found: list[tuple[str, str, str]] = []
        with catalog_errors("reading the saved views"):
            for schema, *deeper in self._catalog.list_namespaces():
                held = {} if deeper else self._held(schema) or {}
                names = {key.removeprefix(_PREFIX).rpartition(".")[0] for key in held if key.startswith(_PREFIX)}
                found += [(schema, name, "".join(held[key] for key in _pieces(held, name))) for name in names]
        return sorted(found)

    def _held(self, schema: str) -> Mapping[str, str] | None:
        try:
            return self._catalog.load_namespace_properties(schema)
        except NoSuchNamespaceError:
            return None


def _pieces(held: Mapping[str, str], name: str) -> list[str]:
    """The keys that hold a view's SQL, in order."""
    keys = [key for key in held if key.rpartition(".")[0] == _PREFIX + name]
    return sorted(keys, key=lambda key: int(key.rpartition(".")[2]))
