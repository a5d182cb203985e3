"""A contract proposed from a candidate and its profile. Only what every row of the sample keeps becomes a rule.

Of a sample that is not the whole table, no value sets, keys and required columns are concluded: the rest may differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lakehouse.scaffold.candidate import Candidate, CandidateColumn
from lakehouse.scaffold.profile import ColumnProfile, Profile, profile
from lakehouse.tables import Column, Layer, LoadPolicy, TableName
from lakehouse.tables.types import duckdb_type

_ROWS_A_VALUE = 10
_NUMBERS = ("int", "long", "float", "double", "decimal")
_PERSONAL = re.compile(
    r"(^|_)(e?mail|phone|mobile|fax|address|street|(first|last|middle|full|sur|maiden)_?name|birth_?(day|date)|dob|"
    r"date_of_birth|ssn|iban|passport|ip_address|password)(_|\d*$)"
)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Proposal:
    """A bronze table as it would be declared. `limits`: further keys of a column's entry. `notes` are for people.

    `why`: a comment on `load`, which may be empty.
    """

    name: TableName
    domain: str
    label: str
    description: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    load: LoadPolicy
    why: str
    limits: Mapping[str, Mapping[str, object]]
    rows: int
    complete: bool
    notes: tuple[str, ...]


def propose(candidate: Candidate, *, domain: str, connection: str, prefix: str = "") -> Proposal:
    """The contract of a candidate."""
    found = profile(candidate.sample, candidate.columns)
    # A database says what its keys are; a column of it that happens to repeat nothing is none.
    from_data = all(column.nullable is None for column in candidate.columns)
    key = candidate.primary_key or (found.key if from_data else ())
    columns = tuple(_column(column, found, key) for column in candidate.columns)
    name = TableName(Layer.BRONZE, f"{prefix}{candidate.table}")
    limits = {
        column.name: limit
        for column in columns
        if (limit := _limits(column, found, key)) and column.name in found.columns
    }
    return Proposal(
        name=name,
        domain=domain,
        label=candidate.label,
        description=candidate.description
        or f"{candidate.label} as the source {connection} holds it, each version once.",
        columns=columns,
        primary_key=key,
        load=LoadPolicy(connection, candidate.options),
        why=candidate.why,
        limits=limits,
        rows=found.rows,
        complete=found.complete,
        notes=(*candidate.notes, *_notes(candidate, columns, found, key)),
    )


def _column(column: CandidateColumn, found: Profile, key: tuple[str, ...]) -> Column:
    seen = found.columns.get(column.name)
    if column.nullable is None:
        required = found.complete and found.rows > 0 and seen is not None and not seen.nulls and not seen.misfits
    else:
        required = not column.nullable
    return Column(
        name=column.name,
        type=seen.type if seen else column.type or "string",
        required=required or column.name in key,
        description=column.description,
        personal=bool(_PERSONAL.search(_HUMP.sub("_", column.name).lower())),
    )


def _limits(column: Column, found: Profile, key: tuple[str, ...]) -> Mapping[str, object]:
    seen = found.columns.get(column.name)
    if seen is None:
        return {}
    if _is_set(column, seen, found, key):
        values = {"metric": "invalidValues", "arguments": {"validValues": list(seen.values)}, "mustBe": 0}
        return {"quality": [values]}
    if column.type.startswith(_NUMBERS) and isinstance(seen.minimum, int | float | Decimal) and seen.minimum >= 0:
        return {"logicalTypeOptions": {"minimum": 0}}
    return {}


def _is_set(column: Column, seen: ColumnProfile, found: Profile, key: tuple[str, ...]) -> bool:
    return (
        found.complete
        and len(seen.values) > 1
        and column.name not in key
        and not column.personal
        and found.rows >= _ROWS_A_VALUE * len(seen.values)
    )


def _notes(candidate: Candidate, columns: tuple[Column, ...], found: Profile, key: tuple[str, ...]) -> Iterator[str]:
    if not found.complete:
        yield f"looked at {found.rows:,} rows only: value sets and required columns are not proposed"
    if not key:
        yield "nothing identifies a row: mark the key with `primaryKey: true` before you write a silver table"
    for one in found.columns.values():
        if one.misfits:
            yield f"{one.misfits:,} values of {one.name} do not fit {one.type}: their rows go to the quarantine"
    for column in candidate.columns:
        seen = found.columns.get(column.name)
        if column.nullable is None and seen is not None and seen.blank:
            cast = f"cast(nullif({column.name}, '{seen.blank}') as {duckdb_type(seen.without_blank).lower()})"
            yield f"{column.name} is text, for it says {seen.blank} where there is nothing; in silver: {cast}"
    personal = [column.name for column in columns if column.personal]
    if personal:
        yield f"taken as personal, masked in previews: {', '.join(personal)}"
