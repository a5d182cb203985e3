"""A rule of a contract, compiled: a SQL predicate that every good row fulfils, or a query that counts what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a broken rule does: an error blocks publication, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class Rule:
    """One row rule.

    `predicate` is a DuckDB SQL expression over the table's columns; a row is good where it is true or NULL, as in a SQL
    CHECK constraint. `column` names the column the rule belongs to, if it belongs to one.
    """

    name: str
    predicate: str
    severity: Severity = Severity.ERROR
    column: str | None = None
    description: str = ""
