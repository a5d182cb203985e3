"""Which DuckDB type holds values of an Iceberg type: the one map, for every layer that composes SQL.

Types of contracts are `contracts/types.py`, Iceberg's own classes `iceberg/schemas/schema.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lakehouse.errors import ContractError

DUCKDB_TYPES: Mapping[str, str] = {
    "boolean": "BOOLEAN",
    "int": "INTEGER",
    "long": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "string": "VARCHAR",
    "uuid": "UUID",
    "binary": "BLOB",
}
"""The types without parameters (Iceberg spec, "Primitive Types", format version 2)."""

_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_FIXED = re.compile(r"fixed\[\s*\d+\s*\]")


def duckdb_type(iceberg_type: str) -> str:
    """The DuckDB type of an Iceberg type's text, e.g. "DECIMAL(12, 2)". Raises ContractError for any other text."""
    text = iceberg_type.strip().lower()
    if decimal := _DECIMAL.fullmatch(text):
        return f"DECIMAL({decimal[1]}, {decimal[2]})"
    if _FIXED.fullmatch(text):
        return "BLOB"
    if text not in DUCKDB_TYPES:
        known = ", ".join([*DUCKDB_TYPES, "decimal(p, s)", "fixed[n]"])
        raise ContractError(
            f"{iceberg_type!r} is not an Iceberg type", expected=f"one of {known}", remedy="Mend the contract."
        )
    return DUCKDB_TYPES[text]
