"""SQL that people write in contracts, checked before anything runs it: it parses, and its columns are there.

sqlglot says which columns an expression uses; DuckDB itself, on one row of NULLs, whether its functions and types
exist. Running SQL on data does not belong here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from lakehouse.contracts.document import Place
from lakehouse.tables import Column, Table, TableName
from lakehouse.tables.sql import quote
from lakehouse.tables.types import duckdb_type

OBJECT = "{object}"
"""Stands for the contract's own table in a query (ODCS, "Data Quality", SQL): the rows that are to be published."""
PUBLISHED = "{published}"
"""Stands for the same table as it is on main: what its readers see now, no rows before the first publication."""


def check_predicate(sql: str, columns: Mapping[str, Column], place: Place) -> tuple[str, ...]:
    """The columns that a row predicate uses. Raises ContractError when it is not an expression over those columns."""
    known = {name.lower(): name for name in columns}
    tree = one_statement(sql, place)
    if isinstance(tree, exp.Query | exp.DDL | exp.DML | exp.Command | exp.Alias):
        raise place.error("a row rule is one SQL expression", found=sql, remedy="Write what holds for every good row.")
    for node in tree.walk():
        if isinstance(node, exp.Query | exp.AggFunc | exp.Window) or node.comments:
            raise place.error(
                "a row rule sees one row, and has no query, aggregate, window or comment",
                found=sql,
                remedy="Use a quality entry of `type: sql` for what needs more rows.",
            )
    bound = {name.name.lower() for scope in tree.find_all(exp.Lambda) for name in scope.expressions}
    used: list[str] = []
    for column in tree.find_all(exp.Column):
        if column.table or column.name.lower() not in known.keys() | bound:
            raise place.unknown("column", column.sql(dialect="duckdb"), list(known.values()))
        if column.name.lower() in known:
            used.append(known[column.name.lower()])
    nulls = ", ".join(f"null::{duckdb_type(column.type)} as {quote(column.name)}" for column in columns.values())
    kind = ask_duckdb(f"select ({sql}) from (select {nulls})", sql, place)
    if kind != "BOOLEAN":
        raise place.error(
            "a row rule is true or false", found=f"{sql}, of type {kind}", remedy="Compare it with something."
        )
    return tuple(dict.fromkeys(used))


def check_query(sql: str, place: Place) -> None:
    """Raises ContractError unless the text is one query; its names are checked by `check_names`."""
    tree = one_statement(sql.replace(OBJECT, "this").replace(PUBLISHED, "published"), place)
    if not isinstance(tree, exp.Query):
        raise place.error("a SQL rule is one query that gives one value", found=sql, remedy="Begin with `select`.")
    if OBJECT not in sql:
        raise place.error(
            f"the query does not use {OBJECT}",
            remedy=f"Write {OBJECT} for the contract's own table, so that it can be checked before it is published.",
        )


def check_names(
    sql: str,
    own: TableName,
    tables: Mapping[TableName, Table],
    place: Place,
    unread: Collection[TableName] = (),
) -> None:
    """Raises ContractError when a query names a table or a column that no contract declares.

    A query over one of the tables `unread` is passed over, for their columns are not known.
    """
    query = sql.replace(OBJECT, relation(own)).replace(PUBLISHED, relation(own))
    tree = sqlglot.parse_one(query, dialect="duckdb")
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    declared = {str(name) for name in (*tables, *unread)}
    named = {
        f"{used.db}.{used.name}" if used.db else used.name
        for used in tree.find_all(exp.Table)
        if isinstance(used.this, exp.Identifier)
    }
    for text in sorted(named - local - declared):
        raise place.unknown("table", text, sorted(declared))
    if named & {str(name) for name in unread}:
        return
    schema: dict[str, dict[str, object]] = {}
    for name, table in tables.items():
        columns = {column.name: "unknown" for column in table.stored_columns}
        schema.setdefault(name.layer.value, {})[name.table] = columns
    try:
        qualify(tree, schema=dict(schema), dialect="duckdb")
    except SqlglotError as error:
        raise place.error(
            "the query names an unknown column", found=_first_line(error), remedy="Name columns of the contracts."
        ) from error


def ask_duckdb(sql: str, shown: str, place: Place) -> str:
    """The type of a query's first column. Raises ContractError with DuckDB's own words when it refuses the query."""
    try:
        with _duckdb().cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.description[0][1]) if cursor.description else ""
    except duckdb.Error as error:
        raise place.error(
            "DuckDB refuses the SQL", found=_first_line(error), remedy=f"Mend it: {shown.strip()}"
        ) from error


@cache
def _duckdb() -> duckdb.DuckDBPyConnection:
    """An empty database in memory that reaches no file and no network."""
    return duckdb.connect(":memory:", config={"enable_external_access": "false"})


def relation(name: TableName) -> str:
    """A table as SQL names it."""
    return f"{quote(name.layer.value)}.{quote(name.table)}"


def one_statement(sql: str, place: Place) -> exp.Expr:
    """The tree of one statement or expression. Raises ContractError when it does not parse, or is several."""
    try:
        trees = sqlglot.parse(sql, dialect="duckdb")
    except SqlglotError as error:
        raise place.error(
            "the SQL does not parse", found=_first_line(error), remedy=f"Mend the SQL (DuckDB): {sql.strip()}"
        ) from error
    if len(trees) != 1 or trees[0] is None:
        raise place.error("one SQL expression is asked for", found=repr(sql), remedy="Write one, without `;`.")
    return trees[0]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
