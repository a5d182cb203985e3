"""What contracts state, in words for people: spans of time and bounds. Sentences do not belong here."""

from __future__ import annotations

from datetime import timedelta

from lakehouse.tables import Bound, Comparison

_UNITS = {"day": timedelta(days=1), "hour": timedelta(hours=1), "minute": timedelta(minutes=1)}
_VERBS = {
    Comparison.EQUAL: "is",
    Comparison.NOT_EQUAL: "is not",
    Comparison.GREATER: "is above",
    Comparison.GREATER_OR_EQUAL: "is at least",
    Comparison.LESS: "is below",
    Comparison.LESS_OR_EQUAL: "is at most",
    Comparison.BETWEEN: "is between",
    Comparison.NOT_BETWEEN: "is not between",
}


def span_in_words(span: timedelta) -> str:
    """In the largest unit of which it is a whole number: `36 hours`, `1 day`."""
    for name, unit in _UNITS.items():
        count, rest = divmod(span, unit)
        if not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{span.total_seconds():g} seconds"


def bound_in_words(bound: Bound) -> str:
    """What a figure does: `is at least 5`, `is between 0 and 1 percent`."""
    return f"{_VERBS[bound.comparison]} {' and '.join(map(str, bound.values))}{' percent' if bound.percent else ''}"
