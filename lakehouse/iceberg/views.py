"""View models: SQL that DuckDB runs over the lake's tables, kept beside the catalog so that every process sees it.

PyIceberg's SQL catalog has no views. What a view's SQL means is `transform/`; running it is `duck.py`.
"""

from __future__ import annotations

from sqlalchemy import Column, ColumnElement, Engine, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from lakehouse.iceberg.catalog import catalog_errors

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
    """The saved views of one catalog. Their table is made by the first `save`. Every method raises CatalogError."""

    def __init__(self, engine: Engine, catalog: str) -> None:
        self._engine = engine
        self._catalog = catalog

    def save(self, schema: str, name: str, sql: str) -> None:
        """Keep a view, in place of the one of that name."""
        with catalog_errors(f"saving view {schema}.{name}"):
            self._ensure()
            for _ in range(2):
                try:
                    with self._engine.begin() as connection:
                        connection.execute(delete(_VIEWS).where(*self._is(schema, name)))
                        connection.execute(
                            insert(_VIEWS).values(
                                catalog_name=self._catalog, view_schema=schema, view_name=name, sql=sql
                            )
                        )
                except IntegrityError:
                    # Another process saved the same view between our two statements; ours is the later one.
                    continue
                return

    def remove(self, schema: str, name: str) -> None:
        """Forget a view; nothing happens if there is none."""
        with catalog_errors(f"removing view {schema}.{name}"):
            self._ensure()
            with self._engine.begin() as connection:
                connection.execute(delete(_VIEWS).where(*self._is(schema, name)))

    def all(self) -> list[tuple[str, str, str]]:
        """(schema, name, sql) of every view, by name."""
        order = (_VIEWS.c.view_schema, _VIEWS.c.view_name)
        wanted = select(*order, _VIEWS.c.sql).where(_VIEWS.c.catalog_name == self._catalog).order_by(*order)
        with catalog_errors("reading the saved views"):
            try:
                with self._engine.connect() as connection:
                    return [(row.view_schema, row.view_name, row.sql) for row in connection.execute(wanted)]
            except (OperationalError, ProgrammingError):
                # No view was ever saved, unless something else is wrong: then making the table fails as well.
                self._ensure()
                return []

    def _ensure(self) -> None:
        try:
            _METADATA.create_all(self._engine)
        except (OperationalError, ProgrammingError, IntegrityError):
            # Made by another process between the look and the statement.
            _METADATA.create_all(self._engine)

    def _is(self, schema: str, name: str) -> tuple[ColumnElement[bool], ...]:
        return (
            _VIEWS.c.catalog_name == self._catalog,
            _VIEWS.c.view_schema == schema,
            _VIEWS.c.view_name == name,
        )
