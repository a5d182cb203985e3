"""The expectations of Great Expectations that a contract may name, with their arguments: those that run on DuckDB.

Each is run by a test that passes and one that fails (`assets_tests/quality/test_expectations.py`). What has a word of
its own in the standard (required, unique, enum, ...) is better said with that. How they are run is `quality/engine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lakehouse.contracts.document import Place


@dataclass(frozen=True)
class Arguments:
    """What an expectation needs, and what it may be told besides. With `bounded`, it needs one of the ends at least."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    bounded: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """All of them, by name."""
        return tuple(sorted(self.required | self.optional))


_ENDS = ("min_value", "max_value")


def _column(*required: str, optional: tuple[str, ...] = ()) -> Arguments:
    """Of the values of one column, of which a share may be enough."""
    return Arguments(frozenset({"column", *required}), frozenset({"mostly", *optional}))


def _figure(*required: str, optional: tuple[str, ...] = ()) -> Arguments:
    """Of a figure of one column."""
    return Arguments(frozenset({"column", *required}), frozenset(optional))


def _between(*required: str, optional: tuple[str, ...] = ()) -> Arguments:
    """Of a figure or value that lies between two ends."""
    ends = {*_ENDS, "strict_min", "strict_max"}
    return Arguments(frozenset(required), frozenset({*ends, *optional}), bounded=True)


def _rows(*required: str) -> Arguments:
    """Of several columns of a row."""
    return Arguments(frozenset(required), frozenset({"mostly", "ignore_row_if"}))


EXPECTATIONS: Mapping[str, Arguments] = {
    "expect_column_distinct_values_to_be_in_set": _figure("value_set"),
    "expect_column_distinct_values_to_contain_set": _figure("value_set"),
    "expect_column_distinct_values_to_equal_set": _figure("value_set"),
    "expect_column_kl_divergence_to_be_less_than": _figure("partition_object", "threshold"),
    "expect_column_max_to_be_between": _between("column"),
    "expect_column_mean_to_be_between": _between("column"),
    "expect_column_median_to_be_between": _between("column"),
    "expect_column_min_to_be_between": _between("column"),
    "expect_column_most_common_value_to_be_in_set": _figure("value_set", optional=("ties_okay",)),
    "expect_column_pair_values_a_to_be_greater_than_b": Arguments(
        frozenset({"column_A", "column_B"}), frozenset({"or_equal", "mostly", "ignore_row_if"})
    ),
    "expect_column_pair_values_to_be_equal": _rows("column_A", "column_B"),
    "expect_column_proportion_of_non_null_values_to_be_between": _between("column"),
    "expect_column_proportion_of_unique_values_to_be_between": _between("column"),
    "expect_column_quantile_values_to_be_between": _figure("quantile_ranges"),
    "expect_column_stdev_to_be_between": _between("column"),
    "expect_column_sum_to_be_between": _between("column"),
    "expect_column_unique_value_count_to_be_between": _between("column"),
    "expect_column_value_lengths_to_be_between": _between("column", optional=("mostly",)),
    "expect_column_value_lengths_to_equal": _column("value"),
    "expect_column_value_z_scores_to_be_less_than": _column("threshold", "double_sided"),
    "expect_column_values_to_be_between": _between("column", optional=("mostly",)),
    "expect_column_values_to_be_in_set": _column("value_set"),
    "expect_column_values_to_be_null": _column(),
    "expect_column_values_to_be_unique": _column(),
    "expect_column_values_to_match_like_pattern": _column("like_pattern"),
    "expect_column_values_to_match_like_pattern_list": _column("like_pattern_list", optional=("match_on",)),
    "expect_column_values_to_match_regex": _column("regex"),
    "expect_column_values_to_match_regex_list": _column("regex_list", optional=("match_on",)),
    "expect_column_values_to_not_be_in_set": _column("value_set"),
    "expect_column_values_to_not_be_null": _column(),
    "expect_column_values_to_not_match_like_pattern": _column("like_pattern"),
    "expect_column_values_to_not_match_like_pattern_list": _column("like_pattern_list"),
    "expect_column_values_to_not_match_regex": _column("regex"),
    "expect_column_values_to_not_match_regex_list": _column("regex_list"),
    "expect_compound_columns_to_be_unique": _rows("column_list"),
    "expect_multicolumn_sum_to_equal": _rows("column_list", "sum_total"),
    "expect_select_column_values_to_be_unique_within_record": _rows("column_list"),
    "expect_table_row_count_to_be_between": _between(),
    "expect_table_row_count_to_equal": Arguments(frozenset({"value"})),
}
"""By type. What is not here is refused: it fails on DuckDB, judges otherwise than it says, or nobody has tried it."""


def check_expectation(expectation: str, kwargs: Mapping[str, object], place: Place) -> None:
    """Raise ContractError for an expectation that is not in the list, or arguments that it does not take so."""
    if expectation not in EXPECTATIONS:
        raise (place / "type").unknown("expectation", expectation, list(EXPECTATIONS))
    arguments, at = EXPECTATIONS[expectation], place / "kwargs"
    for name, value in kwargs.items():
        if name not in arguments.known:
            raise (at / name).unknown(f"argument of {expectation}", name, arguments.known)
        kind, fits = _KINDS[name]
        if not fits(value):
            raise (at / name).error(f"{name} cannot be this", expected=kind, found=repr(value), remedy="Write it so.")
    missing = sorted(arguments.required - kwargs.keys())
    if arguments.bounded and not any(end in kwargs for end in _ENDS):
        missing.append(" or ".join(_ENDS))
    if missing:
        raise at.error(
            f"{expectation} needs more", expected=", ".join(missing), remedy=f"State {missing[0]} in its kwargs."
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _list_of(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(fits, value))


def _is_quantiles(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"quantiles", "value_ranges"}:
        return False
    ends = value["value_ranges"]
    pairs = _list_of(lambda pair: isinstance(pair, list) and len(pair) == 2)  # noqa: PLR2004  (two ends)
    return _list_of(_is_number)(value["quantiles"]) and pairs(ends) and len(ends) == len(value["quantiles"])


def _is_partition(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != {"values", "weights"}:
        return False
    return _list_of(_is_number)(value["weights"]) and len(value["values"]) == len(value["weights"])


_Kind = tuple[str, Callable[[object], bool]]
_TEXT: _Kind = ("text", _is_text)
_NUMBER: _Kind = ("a number", _is_number)
_FLAG: _Kind = ("true or false", lambda value: isinstance(value, bool))
_TEXTS: _Kind = ("a list of texts", _list_of(_is_text))
_VALUES: _Kind = ("a list of texts, numbers, true or false", _list_of(lambda one: isinstance(one, str | int | float)))
_KINDS: Mapping[str, _Kind] = {
    **dict.fromkeys(("column", "column_A", "column_B", "regex", "like_pattern"), _TEXT),
    **dict.fromkeys((*_ENDS, "value", "threshold", "sum_total"), _NUMBER),
    **dict.fromkeys(("strict_min", "strict_max", "or_equal", "double_sided", "ties_okay"), _FLAG),
    **dict.fromkeys(("column_list", "regex_list", "like_pattern_list"), _TEXTS),
    "value_set": _VALUES,
    "mostly": ("a share, 0 to 1", lambda value: _is_number(value) and 0 <= float(str(value)) <= 1),
    "match_on": ("any or all", lambda value: value in {"any", "all"}),
    "ignore_row_if": ("a word of Great Expectations, such as any_value_is_missing", _is_text),
    "quantile_ranges": ("{quantiles: [0.5], value_ranges: [[1, 9]]}", _is_quantiles),
    "partition_object": ("{values: [a, b], weights: [0.5, 0.5]}", _is_partition),
}
