"""Great Expectations on pandas: the rules of a contract as whoever has the rows in memory would state them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, cast

import pyarrow as pa

from lakehouse.tables import Bound, Rule, RuleKind, TableRule, TableRuleKind

_PAIRS = {"due_day >= event_day": ("due_day", "event_day")}
"""Row rules in SQL, as the pair expectation that says the same."""


def judge(rows: pa.Table, rules: Sequence[Rule | TableRule]) -> dict[str, bool]:
    """Whether each rule holds, by its name."""
    import great_expectations as gx  # noqa: PLC0415  (seconds; only the process that is measured pays them)

    doubles = [
        pa.field(field.name, pa.float64() if pa.types.is_decimal(field.type) else field.type) for field in rows.schema
    ]
    frame = rows.cast(pa.schema(doubles)).to_pandas(date_as_object=False, self_destruct=True)
    del rows
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]  # as its own documents do
    asset = context.data_sources.add_pandas("pandas").add_dataframe_asset("events")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    expectations = [expectation(rule) for rule in rules]
    suite = gx.ExpectationSuite(name="rules", expectations=expectations)
    shown = {"result_format": "SUMMARY", "partial_unexpected_count": 10}
    results = batch.validate(suite, result_format=shown).results
    # A suite's results come in an order of their own.
    return {str(result.expectation_config.meta["rule"]): bool(result.success) for result in results}


def expectation(rule: Rule | TableRule) -> Any:  # noqa: ANN401  (of Great Expectations, imported above)
    """The expectation of one rule."""
    from great_expectations import expectations as known  # noqa: PLC0415  (as above)

    kind, given = _stated(rule)
    words = "".join(part.title() for part in kind.split("_"))
    return getattr(known, words)(**given, meta={"rule": rule.name})


def _stated(rule: Rule | TableRule) -> tuple[str, dict[str, Any]]:
    return _of_rows(rule) if isinstance(rule, Rule) else _of_table(rule)


def _of_rows(rule: Rule) -> tuple[str, dict[str, Any]]:
    arguments, column = rule.arguments, {"column": rule.column}
    match rule.kind:
        case RuleKind.NOT_NULL:
            return "expect_column_values_to_not_be_null", column
        case RuleKind.ACCEPTED_VALUES:
            values = list(cast("tuple[object, ...]", arguments["values"]))
            return "expect_column_values_to_be_in_set", {**column, "value_set": values}
        case RuleKind.LIMIT:
            return "expect_column_values_to_be_between", {
                **column,
                _side(arguments["sign"]): _bound(arguments["bound"]),
            }
        case RuleKind.LENGTH:
            length = {_side(arguments["sign"]): arguments["length"]}
            return "expect_column_value_lengths_to_be_between", {**column, **length}
        case RuleKind.PATTERN:
            return "expect_column_values_to_match_regex", {**column, "regex": arguments["pattern"]}
        case RuleKind.SQL:
            later, earlier = _PAIRS[rule.predicate]
            pair = {"column_A": later, "column_B": earlier, "or_equal": True}
            return "expect_column_pair_values_a_to_be_greater_than_b", pair


def _of_table(rule: TableRule) -> tuple[str, dict[str, Any]]:
    match rule.kind:
        case TableRuleKind.UNIQUE if len(rule.columns) == 1:
            return "expect_column_values_to_be_unique", {"column": rule.columns[0]}
        case TableRuleKind.UNIQUE:
            return "expect_compound_columns_to_be_unique", {"column_list": list(rule.columns)}
        case TableRuleKind.ROW_COUNT:
            [least] = cast("Bound", rule.arguments["bound"]).values
            return "expect_table_row_count_to_be_between", {"min_value": least, "strict_min": True}
        case TableRuleKind.BAD_ROWS:
            [share] = cast("Bound", rule.arguments["bound"]).values
            mostly = {"column": rule.columns[0], "mostly": 1 - float(share) / 100}
            return "expect_column_values_to_not_be_null", mostly
        case TableRuleKind.EXPECTATION:
            return str(rule.arguments["type"]), dict(cast("dict[str, Any]", rule.arguments["kwargs"]))
        case _:
            raise NotImplementedError(rule.kind)


def _side(sign: object) -> str:
    return "min_value" if str(sign).startswith(">") else "max_value"


def _bound(value: object) -> object:
    """The contract's own writing of a day is text; pandas compares with moments."""
    return datetime.combine(date.fromisoformat(value), datetime.min.time()) if isinstance(value, str) else value
