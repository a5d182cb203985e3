"""What holds for the differences of any two versions of a contract, and for ranges of any numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.diff import compare
from lakehouse.contracts.diff_ranges import move_of_bound, move_of_limit
from lakehouse.contracts.difference import Difference, Move
from lakehouse.tables import Bound, Comparison, Table

Declare = Callable[..., Table]
LAWS = settings(deadline=None, max_examples=40)
MIRRORED = {
    Move.ADDED: Move.REMOVED,
    Move.REMOVED: Move.ADDED,
    Move.WIDENED: Move.NARROWED,
    Move.NARROWED: Move.WIDENED,
}
ENDS = st.integers(0, 4)


@st.composite
def contracts(draw: st.DrawFn) -> dict[str, Any]:
    """A table of an id and at most two further columns, with rules of every kind that has an order."""
    severities = st.sampled_from(["error", "warning"])
    text: dict[str, Any] = {"name": "text", "logicalType": "string", "required": draw(st.booleans())}
    text["classification"] = draw(st.sampled_from(["public", "personal"]))
    text["quality"] = [
        {"metric": "invalidValues", "arguments": {"validValues": valid}, "mustBe": 0, "severity": draw(severities)}
        for valid in draw(st.lists(st.lists(st.sampled_from("abc"), min_size=1, unique=True), max_size=1))
    ]
    digits = draw(st.integers(4, 7))
    options = draw(st.dictionaries(st.sampled_from(["minimum", "maximum"]), ENDS))
    number = {"name": "number", "physicalType": f"decimal({digits}, 2)", "logicalTypeOptions": options}
    quality = [
        {"metric": "rowCount", draw(st.sampled_from(["mustBeGreaterThan", "mustBeLessThan"])): end}
        for end in draw(st.lists(ENDS, max_size=1))
    ]
    sla = [
        {"property": "latency", "value": hours, "unit": "h"} for hours in draw(st.lists(st.integers(1, 3), max_size=1))
    ]
    key = {"name": "id", "logicalType": "integer", "primaryKey": True}
    return {
        "properties": [key, *draw(st.lists(st.sampled_from([text, number]), unique_by=lambda one: str(one["name"])))],
        "quality": quality,
        "more": {"slaProperties": sla},
    }


def told(differences: tuple[Difference, ...]) -> Counter[tuple[str, Move]]:
    return Counter((one.subject, one.move) for one in differences if one.subject != "version")


@LAWS
@given(contract=contracts())
def test_a_contract_does_not_differ_from_itself(declare: Declare, contract: dict[str, Any]) -> None:
    assert compare(declare(**contract), declare(**contract)) == ()


@LAWS
@given(old=contracts(), new=contracts())
def test_the_way_back_is_the_mirror_image(declare: Declare, old: dict[str, Any], new: dict[str, Any]) -> None:
    one, other = declare(**old), declare(**new)
    there, back = told(compare(one, other)), told(compare(other, one))
    assert back == Counter({(subject, MIRRORED.get(move, move)): n for (subject, move), n in there.items()})


@LAWS
@given(old=contracts(), new=contracts())
def test_what_breaks_is_never_what_only_promises_more(
    declare: Declare, old: dict[str, Any], new: dict[str, Any]
) -> None:
    for one in compare(declare(**old), declare(**new)):
        if one.breaking and one.subject.startswith("rule "):
            assert one.move in {Move.REMOVED, Move.WIDENED, Move.CHANGED}
        if one.move is Move.ADDED:
            assert one.breaking is ("personal" in one.change)


def allowed(bound: Bound, figure: Fraction) -> bool:
    low, high = Fraction(str(bound.values[0])), Fraction(str(bound.values[-1]))
    return {
        Comparison.EQUAL: figure == low,
        Comparison.NOT_EQUAL: figure != low,
        Comparison.GREATER: figure > low,
        Comparison.GREATER_OR_EQUAL: figure >= low,
        Comparison.LESS: figure < low,
        Comparison.LESS_OR_EQUAL: figure <= low,
        Comparison.BETWEEN: low <= figure <= high,
        Comparison.NOT_BETWEEN: not low <= figure <= high,
    }[bound.comparison]


@st.composite
def bounds(draw: st.DrawFn) -> Bound:
    comparison = draw(st.sampled_from(Comparison))
    ends = draw(st.lists(ENDS, min_size=2, max_size=2).map(sorted))
    both = comparison in {Comparison.BETWEEN, Comparison.NOT_BETWEEN}
    return Bound(comparison, tuple(ends if both else ends[:1]))


@settings(deadline=None, max_examples=200)
@given(old=bounds(), new=bounds())
def test_bounds_move_as_the_figures_that_they_allow(old: Bound, new: Bound) -> None:
    figures = [Fraction(half, 2) for half in range(-2, 11)]
    before = {figure for figure in figures if allowed(old, figure)}
    after = {figure for figure in figures if allowed(new, figure)}
    expected = None if before == after else Move.NARROWED if after < before else Move.WIDENED
    expected = expected if before <= after or after <= before else Move.CHANGED
    assert move_of_bound(old, new) is expected


def test_a_share_is_not_compared_with_a_number() -> None:
    rows, percent = Bound(Comparison.LESS, (5,)), Bound(Comparison.LESS, (5,), percent=True)
    assert move_of_bound(rows, percent) is Move.CHANGED
    assert move_of_bound(percent, Bound(Comparison.LESS, (4,), percent=True)) is Move.NARROWED


def test_limits_of_moments_are_compared_as_moments() -> None:
    assert move_of_limit("<=", "2026-01-02T00:00:00+02:00", "2026-01-01T22:00:00Z") is None
    assert move_of_limit("<=", "2026-01-02T00:00:00+02:00", "2026-01-02") is Move.WIDENED
    assert move_of_limit(">=", "09:30:00", "10:00:00") is Move.NARROWED
    assert move_of_limit(">=", "soon", "later") is Move.CHANGED
    assert move_of_limit(">=", True, True) is None
