"""What a contract says about one value, as SQL predicates: required, enum, limits, lengths and patterns.

A predicate is true or NULL on good rows. Statements about whole tables do not belong here (`quality.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from open_data_contract_standard.model import SchemaProperty

from lakehouse.contracts.document import Place
from lakehouse.contracts.expressions import ask_duckdb
from lakehouse.contracts.types import FLOATS, INTEGERS, MOMENTS, NUMBERS, family, sql_literal
from lakehouse.tables import Column, Rule, RuleKind
from lakehouse.tables.sql import literal, quote

_LIMITS = {
    "minimum": (">=", "minimum"),
    "maximum": ("<=", "maximum"),
    "exclusiveMinimum": (">", "exclusive_minimum"),
    "exclusiveMaximum": ("<", "exclusive_maximum"),
}
_LENGTHS = {"minLength": (">=", "min_length"), "maxLength": ("<=", "max_length")}


def column_rules(prop: SchemaProperty, column: Column, place: Place) -> Iterator[Rule]:
    """The row rules of a column's own keys. Raises ContractError for options that its type does not have."""
    if column.required:
        yield Rule(
            rule_name(column.name, "not_null"),
            not_null(column.name),
            column=column.name,
            description=f"{column.name} is there",
            kind=RuleKind.NOT_NULL,
        )
    if prop.enum is not None:
        listed = [entry.value for entry in prop.enum]
        yield Rule(
            rule_name(column.name, "accepted_values"),
            accepted_values(column, listed, place / "enum"),
            column=column.name,
            description=f"{column.name} is one of {', '.join(map(str, listed))}",
            kind=RuleKind.ACCEPTED_VALUES,
            arguments={"values": tuple(listed)},
        )
    yield from _option_rules(prop.logicalTypeOptions or {}, column, place / "logicalTypeOptions")


def not_null(name: str) -> str:
    """Predicate: the value is there. Never NULL itself."""
    return f"{quote(name)} is not null"


def accepted_values(column: Column, values: Sequence[object], place: Place) -> str:
    """Predicate: the value is one of those listed."""
    if not values:
        raise place.error("the list of values is empty", remedy="List at least one value, or remove the rule.")
    listed = ", ".join(sql_literal(value, column.type, place / position) for position, value in enumerate(values))
    return f"{quote(column.name)} in ({listed})"


def matches(column: Column, pattern: object, place: Place) -> str:
    """Predicate: the pattern is found in the value, as JSON Schema means it; in the syntax of RE2.

    Raises ContractError for a pattern that RE2 does not take: it has no look-around and no back-references.
    """
    if not isinstance(pattern, str) or family(column.type) != "string":
        raise place.error("a pattern is text, and its column a string", found=repr(pattern), remedy="Correct it.")
    ask_duckdb(f"select regexp_matches('', {literal(pattern)})", f"{pattern} (syntax of RE2)", place)
    return f"regexp_matches({quote(column.name)}, {literal(pattern)})"


def rule_name(*parts: str) -> str:
    """A name for a rule, of letters, digits and underscores."""
    return re.sub(r"\W+", "_", "_".join(parts), flags=re.ASCII)


def _option_rules(options: Mapping[str, object], column: Column, place: Place) -> Iterator[Rule]:
    known = _known_options(column.type)
    for key, value in options.items():
        at = place / key
        if key not in known:
            raise at.unknown(f"option of a {column.type} column", key, known)
        kind, arguments = RuleKind.SQL, dict[str, object]()
        if key in _LIMITS:
            sign, name = _LIMITS[key]
            predicate = _limit(column, sign, value, at)
            kind, arguments = RuleKind.LIMIT, {"sign": sign, "bound": value}
        elif key in _LENGTHS:
            sign, name = _LENGTHS[key]
            predicate = f"length({quote(column.name)}) {sign} {_whole(value, at)}"
            kind, arguments = RuleKind.LENGTH, {"sign": sign, "length": value}
        elif key == "pattern":
            name, predicate = "pattern", matches(column, value, at)
            kind, arguments = RuleKind.PATTERN, {"pattern": value}
        elif key == "multipleOf":
            name, predicate = "multiple_of", f"{quote(column.name)} % {_positive(value, column, at)} = 0"
        else:
            continue
        description = f"{column.name}: {key} {value}"
        yield Rule(
            rule_name(column.name, name),
            predicate,
            column=column.name,
            description=description,
            kind=kind,
            arguments=arguments,
        )


def _known_options(column_type: str) -> list[str]:
    kind = family(column_type)
    known = []
    if kind in NUMBERS | MOMENTS:
        known = list(_LIMITS)
    if kind in INTEGERS | {"decimal"}:
        known.append("multipleOf")
    if kind in {"timestamp", "timestamptz"}:
        known.append("timezone")
    if kind == "string":
        known = [*_LENGTHS, "pattern", "format"]
    return known


def _limit(column: Column, sign: str, value: object, place: Place) -> str:
    # Limits of integers may be fractions (JSON Schema), so they are compared as decimals.
    number = "decimal(38, 9)" if family(column.type) in INTEGERS else column.type
    predicate = f"{quote(column.name)} {sign} {sql_literal(value, number, place)}"
    # DuckDB sorts NaN above all numbers, so that a minimum alone would let it pass.
    return f"(not isnan({quote(column.name)}) and {predicate})" if column.type in FLOATS else predicate


def _whole(value: object, place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise place.error("a length is a whole number", found=repr(value), remedy="Write a number from 0 on.")
    return value


def _positive(value: object, column: Column, place: Place) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise place.error("a multiple is of a number above 0", found=repr(value), remedy="Write such a number.")
    return sql_literal(value, "decimal(38, 9)" if column.type in INTEGERS else column.type, place)
