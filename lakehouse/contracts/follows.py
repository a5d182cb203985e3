"""The customProperty `follows` of a daily table: which of its days a change in another table touches.

What it says by itself is read here, and held against the other contracts once these are read. Which days those are of
a given change is found in `changes/`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify

from lakehouse.contracts.document import Place
from lakehouse.contracts.expressions import one_statement
from lakehouse.errors import SettingsError
from lakehouse.tables import Column, Follow, Reach, Table, TableName

CHANGES = "changes"
"""The relation that a query of `follows` is about: the rows of the other table that changed, before and after."""
CHANGE = Column("_change", "string", required=True)
"""Its first column: "delete" for a row as it was, "insert" for one as it is. Both, where a row was changed."""
_DAYS = {"all": Reach.EVERY, "none": Reach.NONE, "same": Reach.SAME_DAY}


def follows(value: object, own: TableName, place: Place) -> tuple[Follow, ...]:
    """The entries of the property. Raises ContractError for what can be told from this contract alone."""
    if not isinstance(value, list) or not value:
        raise place.error(
            "follows is a list", found=repr(value), remedy="List {table: gold.dim_customer, days: all | none | same}."
        )
    found: dict[TableName, Follow] = {}
    for position, entry in enumerate(value):
        follow = _follow(entry, place / position)
        if follow.table in found or follow.table == own:
            problem = "is the table itself" if follow.table == own else "is stated twice"
            raise (place / position / "table").error(f"{follow.table} {problem}", remedy="Remove the entry.")
        found[follow.table] = follow
    return tuple(found.values())


def check_follow(
    follow: Follow, reader: Table, tables: Mapping[TableName, Table], place: Place, unread: Collection[TableName] = ()
) -> None:
    """Raises ContractError when an entry names a table or column that no contract declares, or a day there is none of.

    What is said about the tables `unread`, whose contracts are broken, is passed over.
    """
    declared = [*tables, *unread]
    if follow.table not in declared:
        raise (place / "table").unknown("table", follow.table, sorted(map(str, declared)))
    for name in follow.reads:
        if name not in declared:
            raise (place / "days").unknown("table", name, [CHANGES, *sorted(map(str, declared))])
    if {follow.table, *follow.reads} & set(unread):
        return
    upstream = tables[follow.table]
    if follow.reach is Reach.SAME_DAY and upstream.window_column is None:
        raise (place / "days").error(
            f"{follow.table} has no days",
            expected="a table with a `window`",
            remedy=f"State all, none, or a query for {reader.name}.",
        )
    if follow.sql:
        _check_columns(follow, tables, place / "days")


def _follow(entry: object, place: Place) -> Follow:
    if not isinstance(entry, dict):
        raise place.error(
            "an entry of follows is a mapping", found=repr(entry), remedy="Write {table: ..., days: ...}."
        )
    for key in entry:
        if key not in {"table", "days"}:
            raise (place / key).unknown("key of follows", key, ("table", "days"))
    try:
        name = TableName.parse(str(entry.get("table")))
    except SettingsError as error:
        raise (place / "table").error(
            "follows names a table", expected="layer.table", found=repr(entry.get("table")), remedy="Name one."
        ) from error
    days = entry.get("days")
    if not isinstance(days, str):
        raise (place / "days").error(
            "no days", expected="all, none, same, or a SELECT", found=repr(days), remedy="State which days it touches."
        )
    if (reach := _DAYS.get(days.strip())) is not None:
        return Follow(name, reach)
    tree = one_statement(days, place / "days")
    if not isinstance(tree, exp.Query):
        raise (place / "days").unknown("days", days, (*_DAYS, "a SELECT"))
    return Follow(name, Reach.BY_SQL, days.strip().rstrip(";"), _tables_of(tree, place / "days"))


def _tables_of(tree: exp.Query, place: Place) -> tuple[TableName, ...]:
    """The lake's tables that a query names, besides `changes`, which it has to name, and its own CTEs."""
    if len(tree.selects) != 1 or isinstance(tree.selects[0], exp.Star):
        raise place.error(
            "the query answers days",
            expected="one column",
            found=f"{len(tree.selects)}: {', '.join(one.sql(dialect='duckdb') for one in tree.selects)}",
            remedy="Select the day alone.",
        )
    local = {cte.alias for cte in tree.find_all(exp.CTE)}
    named = {(used.db, used.name) for used in tree.find_all(exp.Table) if isinstance(used.this, exp.Identifier)}
    if ("", CHANGES) not in named or CHANGES in local:
        raise place.error(
            f"the query does not read {CHANGES}",
            remedy=f"Write `from {CHANGES}`: these are the rows that changed, before and after.",
        )
    return tuple(sorted(_parsed(named, local, place)))


def _parsed(named: Collection[tuple[str, str]], local: Collection[str], place: Place) -> Iterator[TableName]:
    for schema, name in named:
        if schema or name not in {CHANGES, *local}:
            try:
                yield TableName.parse(f"{schema}.{name}")
            except SettingsError as error:
                raise place.error(
                    f"{name} is no table of the lake",
                    expected=f"{CHANGES}, or layer.table",
                    remedy="Name tables of the contracts, not views of the models.",
                ) from error


def _check_columns(follow: Follow, tables: Mapping[TableName, Table], place: Place) -> None:
    schema: dict[str, dict[str, object]] = {}
    for name in follow.reads:
        columns = {column.name: column.type for column in tables[name].stored_columns}
        schema.setdefault(name.layer.value, {})[name.table] = columns
    changed = (CHANGE, *tables[follow.table].stored_columns)
    tree = sqlglot.parse_one(follow.sql, dialect="duckdb")
    for used in tree.find_all(exp.Table):
        if not used.db and used.name == CHANGES:
            # All tables of one schema have as many parts to their names.
            used.set("db", exp.to_identifier(CHANGES))
    schema[CHANGES] = {CHANGES: {column.name: column.type for column in changed}}
    try:
        qualify(tree, schema=dict(schema), dialect="duckdb")
    except SqlglotError as error:
        raise place.error(
            "the query names an unknown column",
            found=str(error).splitlines()[0].rstrip("."),
            remedy="Name columns of the contracts.",
        ) from error
