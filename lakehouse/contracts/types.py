"""Types of columns: from the standard's logical and physical types to Iceberg's, and values of them as SQL literals.

Iceberg's names and limits: table spec, "Primitive Types" (format version 2). Nested types are not supported.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time
from decimal import Decimal

from lakehouse.contracts.document import Place
from lakehouse.tables.sql import literal

_DEFAULTS = {
    "integer": "long",
    "number": "double",
    "string": "string",
    "date": "date",
    "timestamp": "timestamptz",
    "time": "time",
    "boolean": "boolean",
}
_HOLDS = {
    "integer": {"int", "long"},
    "number": {"float", "double", "decimal", "int", "long"},
    "string": {"string", "uuid", "binary", "fixed"},
    "date": {"date"},
    "timestamp": {"timestamp", "timestamptz"},
    "time": {"time"},
    "boolean": {"boolean"},
}
_PRIMITIVES = sorted(set.union(*_HOLDS.values()) - {"decimal", "fixed"})
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_FIXED = re.compile(r"fixed[\[(]\s*(\d+)\s*[\])]")
_MAX_PRECISION = 38

INTEGERS = frozenset({"int", "long"})
FLOATS = frozenset({"float", "double"})
NUMBERS = INTEGERS | FLOATS | {"decimal"}
MOMENTS = frozenset({"date", "timestamp", "timestamptz", "time"})


def family(iceberg_type: str) -> str:
    """The type without its parameters: `decimal` for `decimal(12, 2)`."""
    return re.split(r"[\[(]", iceberg_type, maxsplit=1)[0]


def iceberg_type(logical: str | None, physical: str | None, place: Place, *, timezone: bool = True) -> str:
    """The Iceberg type of a column, as the spec writes it. Raises ContractError for unknown or contradicting types.

    `timezone` is the option of a logical timestamp: false means local time without an offset.
    """
    if logical is not None and logical not in _HOLDS:
        raise (place / "logicalType").unknown("logical type", logical, list(_HOLDS))
    if physical is None:
        if logical is None:
            raise place.error("the column has no type", remedy="State `logicalType`, or `physicalType`, or both.")
        return "timestamp" if logical == "timestamp" and not timezone else _DEFAULTS[logical]
    found = _physical(physical, place / "physicalType")
    if logical is not None and family(found) not in _HOLDS[logical]:
        raise (place / "physicalType").error(
            f"logical type {logical} is not held by physical type {physical}",
            expected=f"one of {', '.join(sorted(_HOLDS[logical]))}",
            remedy="Change one of the two.",
        )
    return found


def _physical(text: str, place: Place) -> str:
    if text in _PRIMITIVES:
        return text
    if decimal := _DECIMAL.fullmatch(text):
        precision, scale = int(decimal[1]), int(decimal[2])
        if 1 <= precision <= _MAX_PRECISION and scale <= precision:
            return f"decimal({precision}, {scale})"
        raise place.error(
            f"{text} cannot be",
            expected="a precision of 1 to 38 and a scale of at most the precision",
            remedy="Choose digits within these limits.",
        )
    if (fixed := _FIXED.fullmatch(text)) and int(fixed[1]) > 0:
        return f"fixed[{int(fixed[1])}]"
    raise place.unknown("physical type", text, [*_PRIMITIVES, "decimal(12, 2)", "fixed[16]"])


def sql_literal(value: object, column_type: str, place: Place) -> str:
    """A value of the contract as a DuckDB literal of a column's type. Raises ContractError when it is none."""
    kind = family(column_type)
    try:
        if kind in NUMBERS:
            return _number(value, kind)
        if kind == "boolean" and isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str) and kind in MOMENTS:
            return _moment(value, kind)
        if isinstance(value, str) and kind in {"string", "uuid"}:
            return literal(value)
    except (ValueError, OverflowError) as error:
        raise _misfit(value, column_type, place) from error
    raise _misfit(value, column_type, place)


def _number(value: object, kind: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = "not a number"
        raise ValueError(message)
    if kind in INTEGERS and isinstance(value, float):
        message = "not a whole number"
        raise ValueError(message)
    return repr(float(value)) if kind in FLOATS else format(Decimal(repr(value)), "f")


def _moment(value: str, kind: str) -> str:
    if kind == "date":
        return f"date '{date.fromisoformat(value).isoformat()}'"
    if kind == "time":
        return f"time '{time.fromisoformat(value).isoformat()}'"
    moment = datetime.fromisoformat(value)
    if kind == "timestamp":
        if moment.tzinfo is not None:
            message = "an offset, and the column has none"
            raise ValueError(message)
        return f"timestamp '{moment.isoformat(sep=' ')}'"
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return f"timestamptz '{moment.isoformat(sep=' ')}'"


def _misfit(value: object, column_type: str, place: Place) -> Exception:
    return place.error(
        f"{value!r} is not a value of the column's type",
        expected=column_type,
        found=type(value).__name__,
        remedy="Write a value of that type: dates as 2026-01-31, text in quotes where YAML reads a number.",
    )
