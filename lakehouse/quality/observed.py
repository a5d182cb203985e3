"""What was seen of a rule, in a few words. How it came to be seen does not belong here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import cast

from lakehouse.tables import Bound, Comparison, TableRule, TableRuleKind

_MUST = {
    Comparison.EQUAL: "must be {}",
    Comparison.NOT_EQUAL: "must not be {}",
    Comparison.GREATER: "must be above {}",
    Comparison.GREATER_OR_EQUAL: "must be at least {}",
    Comparison.LESS: "must be below {}",
    Comparison.LESS_OR_EQUAL: "must be at most {}",
    Comparison.BETWEEN: "must be from {} to {}",
    Comparison.NOT_BETWEEN: "must not be from {} to {}",
}
_UNITS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))


def share(failed: int, rows: int) -> str:
    """Rows that broke a rule, of all: "3 of 1,200 rows"."""
    return f"{failed:,} of {rows:,} rows"


def figure(rule: TableRule, found: object, *, passed: bool, rows: int, now: datetime) -> str:
    """A figure, and what it must be where it is not that."""
    if rule.kind is TableRuleKind.FRESH:
        return _newest(found, cast("timedelta", rule.arguments["within"]), passed=passed, rows=rows, now=now)
    bound = cast("Bound", rule.arguments["bound"])
    unit = "%" if bound.percent else ""
    said = "found nothing" if found is None else f"found {text(found)}{unit}"
    if passed:
        return said
    return f"{said}; {_MUST[bound.comparison].format(*(f'{text(value)}{unit}' for value in bound.values))}"


def expectation(result: Mapping[str, object], failed: int | None, *, passed: bool, rows: int) -> str:
    """What Great Expectations says it observed; `failed` is of rows, where it judges rows."""
    if failed is not None:
        return share(failed, rows)
    found = result.get("observed_value")
    if found is not None:
        return f"found {text(plain(found))}"
    lists = (("unexpected", "partial_unexpected_list"), ("missing", "partial_missing_list"))
    told = [
        f"{word} {', '.join(map(text, cast('list[object]', result[key])))}" for word, key in lists if result.get(key)
    ]
    return "; ".join(told) or ("as expected" if passed else "does not hold")


def text(value: object) -> str:
    """A figure as people write it, no longer than a line."""
    match value:
        case bool() | None:
            return str(value).lower()
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.6g}" if math.isfinite(value) else str(value)
        case Decimal():
            return f"{value.normalize():,f}" if value.is_finite() else str(value)
        case datetime():
            return value.isoformat(sep=" ", timespec="seconds")
    return str(value)[:200]


def plain(value: object) -> object:
    """A value that JSON has a word for: numbers, truth and collections of them as they are, the rest as text."""
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case Mapping():
            return {str(key): plain(inner) for key, inner in value.items()}
        case list() | tuple() | set():
            return [plain(inner) for inner in value]
        case Decimal():
            return float(value)
    return str(value)


def _newest(found: object, within: timedelta, *, passed: bool, rows: int, now: datetime) -> str:
    if found is None:
        return "no rows" if rows == 0 else f"no value in {rows:,} rows"
    newest = found.isoformat() if isinstance(found, date) and not isinstance(found, datetime) else text(found)
    if passed:
        return f"newest {newest}"
    return f"newest {newest}, more than {_span(within)} before {now:%Y-%m-%d %H:%M} UTC"


def _span(span: timedelta) -> str:
    for unit, one in _UNITS:
        if span % one == timedelta():
            return f"{span // one} {unit}{'s' if span != one else ''}"
    return str(span)
