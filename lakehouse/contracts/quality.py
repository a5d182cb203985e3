"""The standard's `quality` entries, as row rules where one row is enough to judge, else as table rules.

Metrics of the library that must be 0 (nullValues, missingValues, invalidValues) are row rules. A row rule in SQL is an
entry `{type: custom, engine: lakehouse, implementation: {row: <predicate>}}`. `type: text` is for people and ignored.
How a table rule is run does not belong here (`failures.py`, dbt, Great Expectations).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from open_data_contract_standard.model import DataQuality

from lakehouse.contracts.document import Document, Place
from lakehouse.contracts.expectations import EXPECTATIONS, check_expectation
from lakehouse.contracts.expressions import OBJECT, check_predicate, check_query
from lakehouse.contracts.rules import accepted_values, matches, not_null, rule_name
from lakehouse.contracts.types import sql_literal
from lakehouse.contracts.words import bound_in_words
from lakehouse.errors import ContractError
from lakehouse.tables import Bound, Column, Comparison, Rule, RuleKind, Severity, TableRule, TableRuleKind
from lakehouse.tables.sql import quote

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_METRICS = ("nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount")
_UNITS = ("rows", "percent")
_ENGINES = ("greatExpectations", "lakehouse")
_COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
_NONE = (Bound(Comparison.EQUAL, (0,)), Bound(Comparison.LESS_OR_EQUAL, (0,)))


@dataclass(frozen=True)
class Subject:
    """What quality entries stand under: a table's columns and, for entries of a column, that column."""

    columns: Mapping[str, Column]
    column: Column | None = None

    def named(self, *parts: str) -> str:
        """A rule's name that begins with the column's."""
        return rule_name(*((self.column.name,) if self.column else ()), *parts)


def quality_rule(entry: DataQuality, subject: Subject, place: Place) -> Rule | TableRule | None:
    """One entry, compiled; None for text. Raises ContractError for what cannot be run as it is written."""
    kind = entry.type or "library"
    if kind == "text":
        return None
    match kind:
        case "library":
            rule = _metric(entry, subject, place)
        case "sql":
            rule = _sql(entry, subject, place)
        case "custom":
            rule = _custom(entry, subject, place)
        case _:
            raise (place / "type").unknown("type of quality entry", kind, ("custom", "library", "sql", "text"))
    if entry.name is not None and not _NAME.fullmatch(entry.name):
        raise (place / "name").error(
            f"{entry.name!r} is not a name of a rule", expected="letters, digits and _", remedy="Rename the rule."
        )
    return replace(
        rule,
        name=entry.name or rule.name,
        severity=parse_severity(entry.severity, place / "severity"),
        description=entry.description or rule.description,
    )


def parse_severity(text: object, place: Place) -> Severity:
    """`error` (also when nothing is said) or `warning`. Raises ContractError for other words."""
    if text is None:
        return Severity.ERROR
    if text not in tuple(Severity):
        raise place.unknown("severity", text, [known.value for known in Severity])
    return Severity(str(text))


def _metric(entry: DataQuality, subject: Subject, place: Place) -> Rule | TableRule:
    if entry.metric not in _METRICS:
        raise (place / "metric").unknown("metric", entry.metric, _METRICS)
    bound = _bound(entry, place, numeric=True)
    if entry.metric == "rowCount":
        if subject.column is not None or bound.percent:
            raise place.error("rowCount counts the rows of a table", remedy="Move it to the table's own `quality`.")
        said = f"the number of rows {bound_in_words(bound)}"
        return TableRule("row_count", TableRuleKind.ROW_COUNT, arguments={"bound": bound}, description=said)
    if entry.metric == "duplicateValues":
        columns = _duplicate_columns(entry, subject, place)
        if bound in _NONE:
            said = f"no two rows have the same {', '.join(columns)}"
            return TableRule(rule_name(*columns, "unique"), TableRuleKind.UNIQUE, columns, description=said)
        said = f"the {_rows(bound)} that repeats another in {', '.join(columns)} {bound_in_words(bound)}"
        name = rule_name(*columns, "duplicates")
        return TableRule(name, TableRuleKind.DUPLICATES, columns, {"bound": bound}, description=said)
    if subject.column is None:
        raise place.error(f"{entry.metric} is about one column", remedy="Move it to that column's `quality`.")
    rule = _values(entry, subject.column, place)
    if bound in _NONE:
        return rule
    arguments = {"predicate": rule.predicate, "bound": bound}
    said = f"the {_rows(bound)} that breaks this {bound_in_words(bound)}: {rule.description}"
    return TableRule(rule.name, TableRuleKind.BAD_ROWS, (subject.column.name,), arguments, description=said)


def _rows(bound: Bound) -> str:
    return "share of rows" if bound.percent else "number of rows"


def _values(entry: DataQuality, column: Column, place: Place) -> Rule:
    """What a metric says of good values, as if none might be bad."""
    if entry.metric == "nullValues":
        _arguments(entry, place, ())
        return _present(column)
    if entry.metric == "missingValues":
        return _not_missing(entry, column, place)
    arguments = _arguments(entry, place, ("validValues", "pattern"))
    at, both = place / "arguments", {"validValues", "pattern"} <= set(arguments)
    predicates: list[str] = []
    said: list[str] = []
    kind, structure = RuleKind.SQL, dict[str, object]()
    if "validValues" in arguments:
        valid = _sequence(arguments["validValues"], at / "validValues")
        predicates.append(accepted_values(column, valid, at / "validValues"))
        said.append(f"is one of {', '.join(map(str, valid))}")
        kind, structure = RuleKind.ACCEPTED_VALUES, {"values": tuple(valid)}
    if "pattern" in arguments:
        predicates.append(matches(column, arguments["pattern"], at / "pattern"))
        said.append(f"matches {arguments['pattern']}")
        kind, structure = RuleKind.PATTERN, {"pattern": arguments["pattern"]}
    if not predicates:
        raise place.error("invalidValues does not say which values are valid", remedy="Add `validValues` or `pattern`.")
    return Rule(
        rule_name(column.name, "accepted_values" if "validValues" in arguments else "pattern"),
        " and ".join(predicates),
        column=column.name,
        description=f"{column.name} {' and '.join(said)}",
        kind=RuleKind.SQL if both else kind,
        arguments={} if both else structure,
    )


def _not_missing(entry: DataQuality, column: Column, place: Place) -> Rule:
    at = place / "arguments" / "missingValues"
    missing = _sequence(_arguments(entry, place, ("missingValues",)).get("missingValues"), at)
    listed = [sql_literal(value, column.type, at) for value in missing if value is not None]
    name = rule_name(column.name, "not_missing")
    if not listed:
        return replace(_present(column), name=name)
    parts = [not_null(column.name)] if None in missing else []
    parts += [f"{quote(column.name)} not in ({', '.join(listed)})"]
    said = f"{column.name} is none of {', '.join('NULL' if value is None else repr(value) for value in missing)}"
    return Rule(name, " and ".join(parts), column=column.name, description=said)


def _present(column: Column) -> Rule:
    name, said = rule_name(column.name, "not_null"), f"{column.name} is there"
    return Rule(name, not_null(column.name), column=column.name, description=said, kind=RuleKind.NOT_NULL)


def _duplicate_columns(entry: DataQuality, subject: Subject, place: Place) -> tuple[str, ...]:
    if subject.column is not None:
        _arguments(entry, place, ())
        return (subject.column.name,)
    at = place / "arguments" / "properties"
    names = _sequence(_arguments(entry, place, ("properties",)).get("properties"), at)
    return known_columns(names, subject.columns, at)


def known_columns(names: Sequence[object], columns: Mapping[str, Column], place: Place) -> tuple[str, ...]:
    """The names, all of them columns. Raises ContractError for the first that is not."""
    for position, name in enumerate(names):
        if not isinstance(name, str) or name not in columns:
            raise (place / position).unknown("column", name, list(columns))
    return tuple(str(name) for name in names)


def _sql(entry: DataQuality, subject: Subject, place: Place) -> TableRule:
    if not entry.query:
        raise place.error("a SQL rule without a query", remedy=f"Add `query`; {OBJECT} in it stands for the table.")
    query = entry.query.strip().replace("${", "{")
    if subject.column is not None:
        query = query.replace("{property}", quote(subject.column.name))
    check_query(query, place / "query")
    bound = _bound(entry, place, numeric=False)
    if bound.percent:
        raise (place / "unit").error("a SQL rule compares its value as it is", remedy="Compute the share in SQL.")
    columns = (subject.column.name,) if subject.column else ()
    return TableRule(_named(entry, place), TableRuleKind.SQL, columns, {"query": query, "bound": bound})


def _custom(entry: DataQuality, subject: Subject, place: Place) -> Rule | TableRule:
    at = place / "implementation"
    implementation = _implementation(entry, at)
    if entry.engine == "lakehouse":
        predicate = implementation.get("row")
        if set(implementation) != {"row"} or not isinstance(predicate, str):
            raise at.error("a row rule is one predicate", expected="{row: <SQL>}", remedy="State `row`, and only that.")
        used = check_predicate(predicate, subject.columns, at / "row")
        column = subject.column.name if subject.column else used[0] if len(used) == 1 else None
        return Rule(_named(entry, place), predicate.strip(), column=column)
    if entry.engine != "greatExpectations":
        raise (place / "engine").unknown("engine", entry.engine, _ENGINES)
    return _expectation(implementation, subject, at)


def _expectation(implementation: Mapping[str, object], subject: Subject, at: Place) -> TableRule:
    name, kwargs = implementation.get("type"), implementation.get("kwargs", {})
    if not isinstance(name, str) or not isinstance(kwargs, dict) or set(implementation) - {"type", "kwargs"}:
        raise at.error(
            "not an expectation", expected="{type: expect_..., kwargs: {...}}", remedy="State these two, and no others."
        )
    if subject.column is not None:
        if name in EXPECTATIONS and "column" not in EXPECTATIONS[name].known:
            raise at.error(f"{name} is not about one column", remedy="Move it to the table's own `quality`.")
        kwargs = {"column": subject.column.name, **kwargs}
    check_expectation(name, kwargs, at)
    columns: list[str] = []
    for key in [known for known in _COLUMN_ARGUMENTS if known in kwargs]:
        value, there = kwargs[key], at / "kwargs" / key
        if not isinstance(value, list) and value not in subject.columns:
            raise there.unknown("column", value, list(subject.columns))
        columns += known_columns(value, subject.columns, there) if isinstance(value, list) else [value]
    arguments = {"type": name, "kwargs": kwargs}
    return TableRule(subject.named(name), TableRuleKind.EXPECTATION, tuple(columns), arguments)


def _implementation(entry: DataQuality, place: Place) -> Mapping[str, object]:
    data: object = entry.implementation
    if isinstance(data, str):
        try:
            data = Document.parse(place.document.path, data).data
        except ContractError as error:
            raise place.error("the implementation is not YAML", found=error.found, remedy=error.remedy) from error
    if not isinstance(data, dict):
        raise place.error("an implementation is a mapping", remedy="Write its keys and values.")
    return data


def _bound(entry: DataQuality, place: Place, *, numeric: bool) -> Bound:
    given = [one for one in Comparison if getattr(entry, one.value) is not None]
    if len(given) != 1:
        raise place.error(
            "a rule compares with one operator",
            expected="one of " + ", ".join(one.value for one in Comparison),
            found=", ".join(one.value for one in given) or "none",
            remedy="State one, such as `mustBe: 0`.",
        )
    value = getattr(entry, given[0].value)
    values = tuple(value) if isinstance(value, list) else (value,)
    allowed = (int, float) if numeric else (int, float, bool, str)
    if any(not isinstance(one, allowed) or (numeric and isinstance(one, bool)) for one in values):
        raise (place / given[0].value).error(
            "no figure compares with this", found=repr(value), remedy="Write a number."
        )
    unit = entry.unit or "rows"
    if unit not in _UNITS:
        raise (place / "unit").unknown("unit", unit, _UNITS)
    return Bound(given[0], values, percent=unit == "percent")


def _arguments(entry: DataQuality, place: Place, known: Sequence[str]) -> Mapping[str, object]:
    arguments = entry.arguments or {}
    for key in arguments:
        if key not in known:
            raise (place / "arguments" / key).unknown(f"argument of {entry.metric}", key, known)
    return arguments


def _sequence(value: object, place: Place) -> Sequence[object]:
    if not isinstance(value, list) or not value:
        raise place.error("a list is missing here", found=repr(value), remedy="List at least one item.")
    return value


def _named(entry: DataQuality, place: Place) -> str:
    if not entry.name:
        raise place.error("a rule in SQL has no name", remedy="Add `name`; it is what checks and reports show.")
    return entry.name
