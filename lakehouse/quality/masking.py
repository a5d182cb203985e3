"""What findings must not show: values of personal columns, wherever a rule would bring them up.

Rows are masked where they are read (`sample.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from lakehouse.tables import Table, TableRule, TableRuleKind

MASK = "•••"
"""Stands for a value of a personal column."""

_COUNTED = re.compile(r"count\s*\([^()]*\)", re.IGNORECASE)
_ABOUT_SQL = ("Catalog Error", "Binder Error", "Parser Error")
_STAR = re.compile(r"(?:select|distinct|[,.(])\s*\*")
"""All columns, as against a product."""
_WORD = re.compile(r"\w+")
_QUOTED = re.compile(r"'[^']*'")
_NUMBERS = ("element_count", "missing_count", "missing_percent", "unexpected_count", "unexpected_percent")
_COUNTING = ("_count_to_", "_proportion_of_")
"""Parts of the types of expectations that observe a number of values, and never a value."""


def personal_figure(rule: TableRule, tables: Iterable[Table], found: object) -> bool:
    """Whether the figure of a rule may be a personal value of one of the tables that it reads, the own one first."""
    own, *others = tables
    match rule.kind:
        case TableRuleKind.FRESH:
            return rule.columns[0] in own.personal_columns
        case TableRuleKind.SQL:
            query = _COUNTED.sub("", str(rule.arguments["query"])).lower()
            personal = {name.lower() for table in (own, *others) for name in table.personal_columns}
            named = bool(_STAR.search(query)) or bool(personal & set(_WORD.findall(query)))
            # A whole row can be had without a name of its columns, but not as a number.
            return bool(personal) and (named or not isinstance(found, int | float | Decimal | date | None))
        case TableRuleKind.EXPECTATION:
            counting = any(part in str(rule.arguments["type"]) for part in _COUNTING)
            return not counting and bool(own.personal_columns & set(rule.columns))
    return False


def without_values(result: Mapping[str, Any]) -> dict[str, Any]:
    """Of what an expectation found, the counts; a mask for what it observed."""
    kept = {key: result[key] for key in _NUMBERS if key in result}
    return {**kept, **({"observed_value": MASK} if "observed_value" in result else {})}


def without_quotes(reason: str) -> str:
    """Why SQL failed, without the values that DuckDB quotes when it met them in a row."""
    return reason if reason.startswith(_ABOUT_SQL) else _QUOTED.sub(f"'{MASK}'", reason)
