"""A rule of a contract, compiled: a SQL predicate that every good row fulfils, or a statement about a whole table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """What a broken rule does: an error blocks publication, a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


class RuleKind(StrEnum):
    """What a row rule states, and which `arguments` it has. Its predicate says the same in SQL."""

    SQL = "sql"
    """What the predicate says, and no other way to say it. No arguments."""
    NOT_NULL = "not_null"
    """The value is there. No arguments."""
    ACCEPTED_VALUES = "accepted_values"
    """The value is one of these. `values`: tuple of the values as the contract states them."""
    LIMIT = "limit"
    """The value lies on one side of a bound. `sign`: ">=", ">", "<=" or "<"; `bound`: as the contract states it."""
    LENGTH = "length"
    """So many characters. `sign`: ">=" or "<="; `length`: int."""
    PATTERN = "pattern"
    """The pattern is found in the value. `pattern`: str, in the syntax of RE2."""


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
    kind: RuleKind = RuleKind.SQL
    arguments: Mapping[str, object] = field(default_factory=dict)


class Comparison(StrEnum):
    """How a figure is held against its bound. The names are those of the data contract standard (ODCS, "Operators")."""

    EQUAL = "mustBe"
    NOT_EQUAL = "mustNotBe"
    GREATER = "mustBeGreaterThan"
    GREATER_OR_EQUAL = "mustBeGreaterOrEqualTo"
    LESS = "mustBeLessThan"
    LESS_OR_EQUAL = "mustBeLessOrEqualTo"
    BETWEEN = "mustBeBetween"
    NOT_BETWEEN = "mustNotBeBetween"


@dataclass(frozen=True)
class Bound:
    """What a figure of a table must be.

    `values` is one value, or the two ends (both inclusive) of BETWEEN and NOT_BETWEEN. With `percent` the figure is a
    share of the table's rows, 0 to 100.
    """

    comparison: Comparison
    values: tuple[int | float | bool | str, ...]
    percent: bool = False


class TableRuleKind(StrEnum):
    """What a table rule states, and which `arguments` it has."""

    UNIQUE = "unique"
    """No two rows agree in all `columns` (NULLs agree with nothing). No arguments."""
    DUPLICATES = "duplicates"
    """How many rows repeat another in `columns`. `bound`: Bound."""
    RELATIONSHIP = "relationship"
    """`columns`, unless one is NULL, are found in another table. `to`: TableName, `to_columns`: tuple of str."""
    ROW_COUNT = "row_count"
    """How many rows there are. `bound`: Bound."""
    BAD_ROWS = "bad_rows"
    """How many rows, or which share of them, break a predicate. `predicate`: str as in Rule, `bound`: Bound."""
    SQL = "sql"
    """One value of a query. `query`: str, in which `{object}` stands for the table as it is to be published and
    `{published}` for the table as it is on main (no rows before the first publication); `bound`: Bound."""
    FRESH = "fresh"
    """The newest value of the one column of `columns` is at most this old. `within`: timedelta."""
    EXPECTATION = "expectation"
    """A Great Expectations expectation. `type`: str, such as `expect_column_mean_to_be_between`, `kwargs`: dict."""


@dataclass(frozen=True)
class TableRule:
    """One rule that needs more than one row to be judged. `contracts/failures.py` renders it as SQL."""

    name: str
    kind: TableRuleKind
    columns: tuple[str, ...] = ()
    arguments: Mapping[str, object] = field(default_factory=dict)
    severity: Severity = Severity.ERROR
    description: str = ""
