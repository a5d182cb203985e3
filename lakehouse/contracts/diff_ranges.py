"""Whether one statement about values allows more than another: sets, limits, bounds.

Values come as contracts state them: numbers, text, dates as ISO text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import UTC, date, datetime, time
from fractions import Fraction
from itertools import pairwise

from lakehouse.contracts.difference import Move
from lakehouse.tables import Bound, Comparison

Allows = Callable[[Fraction], bool]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    ">=": lambda value, bound: value >= bound,
    ">": lambda value, bound: value > bound,
    "<=": lambda value, bound: value <= bound,
    "<": lambda value, bound: value < bound,
}
_COMPARED: dict[Comparison, Callable[[Fraction, Sequence[Fraction]], bool]] = {
    Comparison.EQUAL: lambda figure, ends: figure == ends[0],
    Comparison.NOT_EQUAL: lambda figure, ends: figure != ends[0],
    Comparison.GREATER: lambda figure, ends: figure > ends[0],
    Comparison.GREATER_OR_EQUAL: lambda figure, ends: figure >= ends[0],
    Comparison.LESS: lambda figure, ends: figure < ends[0],
    Comparison.LESS_OR_EQUAL: lambda figure, ends: figure <= ends[0],
    Comparison.BETWEEN: lambda figure, ends: ends[0] <= figure <= ends[1],
    Comparison.NOT_BETWEEN: lambda figure, ends: not ends[0] <= figure <= ends[1],
}


def move_of_set(old: Collection[object], new: Collection[object]) -> Move | None:
    """How a set of allowed values moved; None when it is the same."""
    before, after = set(old), set(new)
    return _move(after <= before, before <= after)


def move_of_limit(sign: str, old: object, new: object) -> Move | None:
    """How a limit moved, both of the sign ">=", ">", "<=" or "<"."""
    before, after = _number(old), _number(new)
    if before is None or after is None:
        return None if old == new else Move.CHANGED
    holds = _SIGNS[sign]
    return _move_of_ranges(lambda x: holds(x, before), lambda x: holds(x, after), (before, after))


def move_of_bound(old: Bound, new: Bound) -> Move | None:
    """How what a figure must be moved."""
    before, after = [_number(one) for one in old.values], [_number(one) for one in new.values]
    if old.percent is not new.percent or None in before or None in after:
        return None if old == new else Move.CHANGED
    one, other = [end for end in before if end is not None], [end for end in after if end is not None]
    compare, compare_now = _COMPARED[old.comparison], _COMPARED[new.comparison]
    return _move_of_ranges(lambda x: compare(x, one), lambda x: compare_now(x, other), (*one, *other))


def _move_of_ranges(old: Allows, new: Allows, ends: Collection[Fraction]) -> Move | None:
    """Ranges change at their ends only, so trying the ends and a point in each gap between them tries every number."""
    marks = sorted(set(ends))
    gaps = [(low + high) / 2 for low, high in pairwise(marks)]
    points = [marks[0] - 1, *marks, *gaps, marks[-1] + 1]
    inside = all(old(point) for point in points if new(point))
    return _move(inside, all(new(point) for point in points if old(point)))


def _move(inside: bool, outside: bool) -> Move | None:
    """From whether the new lies inside the old, and the old inside the new."""
    if inside and outside:
        return None
    return Move.NARROWED if inside else Move.WIDENED if outside else Move.CHANGED


def _number(value: object) -> Fraction | None:
    """A number, a date or a time as a number; None for what has no order here."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Fraction(repr(value))
    if isinstance(value, str):
        return _moment(value)
    return None


def _moment(text: str) -> Fraction | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            clock = time.fromisoformat(text)
        except ValueError:
            return None
        found = datetime.combine(date(1970, 1, 1), clock)
    moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found
    passed = moment - _EPOCH
    return Fraction(passed.days * 86_400 * 1_000_000 + passed.seconds * 1_000_000 + passed.microseconds)
