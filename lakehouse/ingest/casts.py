"""How a source's value becomes one of the contract's type, as DuckDB SQL: exactly, or not at all.

TRY_CAST alone is too kind: it rounds '1.7' to 2 and 12.345 to 12.35, drops the offset of a TIMESTAMP's text and the
time of a DATE's, and takes '0x1F', '1_000' and 'yes'. So text must have the form stated here, and typed values must
survive the way back. Rules on values do not belong here: they are the contract's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lakehouse.tables.sql import literal
from lakehouse.tables.types import duckdb_type

_HOURS = "([01][0-9]|2[0-3])"
_CLOCK = rf"{_HOURS}:[0-5][0-9]:[0-5][0-9](\.[0-9]{{1,6}}0*)?"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_YEAR_FROM_1 = "([0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_MOMENT = rf"{_DAY}([T ]{_CLOCK}(Z|[+-]{_HOURS}(:?[0-5][0-9])?)?)?"
_FLOAT = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"

_FORMS = {
    "boolean": "(?i:true|false|t|f|1|0)",
    "int": r"[+-]?[0-9]+(\.0*)?",
    "long": r"[+-]?[0-9]+(\.0*)?",
    "float": _FLOAT,
    "double": _FLOAT,
    "date": f"{_YEAR_FROM_1}-[0-9]{{2}}-[0-9]{{2}}",
    "time": _CLOCK,
    "timestamp": _MOMENT,
    "timestamptz": _MOMENT,
    "uuid": "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
}

# Years 1 to 9999: what Python, Parquet readers and ISO 8601 agree on. PostgreSQL's infinity lies outside.
_RANGES = {
    "date": "DATE '0001-01-01' AND DATE '9999-12-31'",
    "timestamp": "TIMESTAMP '0001-01-01 00:00:00' AND TIMESTAMP '9999-12-31 23:59:59.999999'",
    "timestamptz": "TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'",
}

_WELL_INSIDE = "TIMESTAMPTZ '0001-01-02 00:00:00+00' AND TIMESTAMPTZ '9999-12-30 23:59:59.999999+00'"


@dataclass(frozen=True)
class Cast:
    """`value` is the SQL of the cast value, NULL where it cannot be; None where the raw value can be taken as it is.

    `span`, "low AND high" in SQL, is what such a raw value must still lie in.
    """

    value: str | None
    span: str | None = None


def exact_cast(raw: str, given: str, wanted: str, *, same: bool) -> Cast:
    """The cast of the expression `raw` of DuckDB type `given` to the Iceberg type `wanted`.

    `same` says that the two have one Arrow type, so that the value need not be copied.
    """
    span = _RANGES.get(wanted)
    if same:
        return Cast(None, span)
    target = duckdb_type(wanted)
    if wanted == "string":
        return Cast(f"CAST(to_json({raw}) AS VARCHAR)" if _nested(given) else f"CAST({raw} AS VARCHAR)")
    if given == "VARCHAR":
        return _from_text(raw, wanted, target, span)
    value = f"TRY_CAST({raw} AS {target})"
    conditions = []
    if span:
        conditions.append(f"{value} BETWEEN {span}")
    if wanted in {"float", "double"}:
        # A number near enough is what a float is; an infinite one that was finite is not.
        conditions.append(f"(isfinite({value}) OR NOT isfinite(CAST({raw} AS DOUBLE)))")
    if wanted != "float" and not wanted.startswith("fixed"):
        conditions.append(f"TRY_CAST({value} AS {given}) = {raw}")
    if size := re.fullmatch(r"fixed\[(\d+)\]", wanted):
        conditions.append(f"octet_length({raw}) = {size[1]}")
    return Cast(f"CASE WHEN {' AND '.join(conditions)} THEN {value} END")


def _from_text(raw: str, wanted: str, target: str, span: str | None) -> Cast:
    if decimal := re.fullmatch(r"decimal\(\d+, ?(\d+)\)", wanted):
        digits = rf"(\.[0-9]{{0,{decimal[1]}}}0*)"
        form = rf"[+-]?([0-9]+{digits}?|{digits})"
    elif wanted in _FORMS:
        form = _FORMS[wanted]
    else:
        # Bytes have no one form as text; the contract can say string.
        return Cast(f"CAST(NULL AS {target})")
    # Nearly no text has blanks around it, and to trim one costs as much as to look at its form.
    cases = (_of_form(text, wanted, target, span, form) for text in (raw, f"trim({raw})"))
    return Cast(f"CASE {' '.join(cases)} END")


def _of_form(text: str, wanted: str, target: str, span: str | None, form: str) -> str:
    # A naive time is UTC, and so is a TIMESTAMP's, whose own cast would drop the offset.
    value = f"TRY_CAST({text} AS {target})"
    if wanted == "timestamp":
        value = f"CAST(TRY_CAST({text} AS TIMESTAMPTZ) AS TIMESTAMP)"
    conditions = [f"regexp_full_match({text}, {literal(form)})"]
    if span and wanted != "date":
        # Only with these years can a moment lie outside of the span, and to look costs a second cast.
        edges = " OR ".join(f"starts_with({text}, '{year}')" for year in ("0000", "0001", "9999"))
        conditions.append(f"(NOT ({edges}) OR {value} BETWEEN {span})")
    if wanted in {"float", "double"}:
        conditions.append(f"isfinite({value})")
    return f"WHEN {' AND '.join(conditions)} THEN {value}"


def local_day(moment: str, zone: str) -> str:
    """SQL for the day that an expression of type TIMESTAMP WITH TIME ZONE falls on in a zone (an IANA name).

    NULL where that day, or the moment in UTC, lies outside of the years 1 to 9999.
    """
    day = f"CAST(timezone({literal(zone)}, {moment}) AS DATE)"
    # No zone is a day away from UTC, so only moments at the ends need a second look, which costs the same again.
    return (
        f"CASE WHEN {moment} BETWEEN {_WELL_INSIDE} THEN {day}"
        f" WHEN {moment} BETWEEN {_RANGES['timestamptz']}"
        f" THEN CASE WHEN {day} BETWEEN {_RANGES['date']} THEN {day} END END"
    )


def _nested(given: str) -> bool:
    return given.startswith(("STRUCT", "MAP")) or given.endswith("]")
