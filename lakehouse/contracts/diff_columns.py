"""Columns of two versions of a contract, compared: names, types, NULL, masks, order.

Rules that a column's own keys make (required) are compared here; all others in `diff_rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from lakehouse.contracts.difference import Difference, Move
from lakehouse.tables import Column, RuleKind, Severity, Table

_WIDENINGS = {("int", "long"), ("float", "double")}
_DECIMAL = re.compile(r"decimal\((\d+), (\d+)\)")


def compare_columns(old: Table, new: Table) -> Iterator[Difference]:
    """Every difference between the columns, in the old order, then the new columns."""
    before, after = _by_name(old), _by_name(new)
    renamed = renames(old, new)
    for name, column in before.items():
        if name in after:
            yield from _compare(old, new, column, after[name])
        elif name in renamed:
            reason = f"queries that name {name} fail"
            yield Difference(f"column {name}", Move.RENAMED, f"{name} -> {renamed[name]}", True, reason)
            yield from _compare(old, new, column, after[renamed[name]])
        else:
            yield Difference(f"column {name}", Move.REMOVED, column.type, True, f"queries that name {name} fail")
    for name, column in after.items():
        if name not in before and name not in renamed.values():
            yield Difference(f"column {name}", Move.ADDED, column.type, False, "queries do not name it yet")
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        order = f"{', '.join(before)} -> {', '.join(after)}"
        yield Difference("columns", Move.CHANGED, f"order {order}", False, "columns are read by their names")


def renames(old: Table, new: Table) -> Mapping[str, str]:
    """New names by old ones, of columns that say what they were called."""
    before, after = _by_name(old), _by_name(new)
    return {
        column.renamed_from: name
        for name, column in after.items()
        if column.renamed_from in before and column.renamed_from not in after and name not in before
    }


def _promises_value(table: Table, column: Column) -> bool:
    """Whether no row is published without a value in the column."""
    return column.required or any(
        rule.kind is RuleKind.NOT_NULL and rule.column == column.name and rule.severity is Severity.ERROR
        for rule in table.rules
    )


def _compare(old: Table, new: Table, before: Column, after: Column) -> Iterator[Difference]:
    subject = f"column {before.name}"
    if before.type != after.type:
        move = _moved(before.type, after.type)
        reason = {
            Move.WIDENED: "every value of before fits",
            Move.NARROWED: "values of before may not fit, and readers see another type",
        }.get(move, "readers see another type")
        change = f"type {before.type} -> {after.type}"
        yield Difference(subject, move, change, move is not Move.WIDENED, reason)
    had, has = _promises_value(old, before), _promises_value(new, after)
    if had and not has:
        yield Difference(subject, Move.WIDENED, "required -> optional", True, "readers may meet NULL")
    elif has and not had:
        yield Difference(subject, Move.NARROWED, "optional -> required", False, "readers meet NULL no more")
    if after.personal and not before.personal:
        yield Difference(subject, Move.ADDED, "classification personal", True, "previews and samples mask its values")
    elif before.personal and not after.personal:
        yield Difference(subject, Move.REMOVED, "classification personal", False, "its values are no longer masked")
    if before.description != after.description:
        yield Difference(subject, Move.CHANGED, "description", False, "it is for people")


def _moved(old: str, new: str) -> Move:
    if _holds(old, new):
        return Move.WIDENED
    return Move.NARROWED if _holds(new, old) else Move.CHANGED


def _holds(small: str, large: str) -> bool:
    """Whether Iceberg promotes a column of the one type to the other (table spec, "Schema Evolution")."""
    one, other = _DECIMAL.fullmatch(small), _DECIMAL.fullmatch(large)
    if one and other:
        return one[2] == other[2] and int(one[1]) < int(other[1])
    return (small, large) in _WIDENINGS


def _by_name(table: Table) -> dict[str, Column]:
    return {column.name: column for column in table.columns}
