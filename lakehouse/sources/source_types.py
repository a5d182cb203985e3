"""Which of a contract's types hold every value of a source's type, by the names that sources give their types.

PostgreSQL's names and Arrow's are known. A name that says nothing of the values, as the text of a CSV file, is not
compared: there the door judges each value (`ingest/casts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_INT = frozenset({"int", "long", "double"})
_LONG = frozenset({"long"})
_TEXT = frozenset[str]()
_TIME = frozenset({"time"})
# A time without a zone is read as UTC, so that each of the two holds the other.
_MOMENT = frozenset({"timestamp", "timestamptz"})
_HELD_BY: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("smallint", "integer", "int8", "int16", "int32", "uint8", "uint16"), _INT),
    **dict.fromkeys(("bigint", "oid", "int64", "uint32"), _LONG),
    "uint64": _TEXT,
    **dict.fromkeys(("real", "halffloat", "float"), frozenset({"float", "double"})),
    **dict.fromkeys(("double precision", "double"), frozenset({"double"})),
    **dict.fromkeys(("boolean", "bool"), frozenset({"boolean"})),
    **dict.fromkeys(("date", "date32", "date64"), _MOMENT | {"date"}),
    **dict.fromkeys(("time", "time32", "time64", "time without time zone"), _TIME),
    **dict.fromkeys(("timestamp", "timestamp without time zone", "timestamp with time zone"), _MOMENT),
    **dict.fromkeys(("text", "character varying", "character", "json", "jsonb"), _TEXT),
    "uuid": frozenset({"uuid"}),
    **dict.fromkeys(("bytea", "binary", "large_binary"), frozenset({"binary"})),
}
_DIGITS = {
    **dict.fromkeys(("int8", "uint8"), 3),
    **dict.fromkeys(("smallint", "int16", "uint16"), 5),
    **dict.fromkeys(("integer", "int32", "uint32", "oid"), 10),
    **dict.fromkeys(("bigint", "int64"), 19),
    "uint64": 20,
}
_DECIMAL = re.compile(r"(?:numeric|decimal|decimal\d+)\((\d+), ?(-?\d+)\)")
_PARAMETERS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_INT_DIGITS, _LONG_DIGITS = 9, 18


def holds(column_type: str, source_type: str) -> bool:
    """Whether a column of the contract's type holds every value of the source's; also where nobody can say.

    Text holds the text of everything.
    """
    if column_type == "string":
        return True
    # As they are spelled: `json` is PostgreSQL's type, `JSON` a record's field.
    name = source_type.strip()
    if decimal := _DECIMAL.fullmatch(name):
        return _holds_digits(column_type, int(decimal[1]) - int(decimal[2]), max(int(decimal[2]), 0))
    if name.endswith("[]"):
        return False
    plain = " ".join(_PARAMETERS.sub(" ", name).split())
    if plain not in _HELD_BY or column_type in _HELD_BY[plain]:
        return True
    return plain in _DIGITS and column_type.startswith("decimal") and _holds_digits(column_type, _DIGITS[plain], 0)


def _holds_digits(column_type: str, whole: int, scale: int) -> bool:
    """Whether a type holds every number with so many digits before and behind the point."""
    if decimal := _DECIMAL.fullmatch(column_type):
        return int(decimal[1]) - int(decimal[2]) >= whole and int(decimal[2]) >= scale
    most = {"int": _INT_DIGITS, "long": _LONG_DIGITS}.get(column_type)
    return most is not None and scale == 0 and whole <= most
