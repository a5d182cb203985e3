"""The customProperty `history` of a table with the strategy `scd2`: which of its columns tell versions, and by what.

How versions are computed from changes is `iceberg/merge/history.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lakehouse.contracts.keys import Stated
from lakehouse.contracts.properties import CustomProperties
from lakehouse.tables import Column, HistoryPolicy, Strategy

_KNOWN = (
    "complete",
    "current",
    "deleted",
    "key",
    "lateDays",
    "surrogate",
    "tracked",
    "validFrom",
    "validTo",
)
_MOMENTS = ("date", "timestamp", "timestamptz")


def history_policy(
    custom: CustomProperties, strategy: Strategy, columns: Mapping[str, Column], primary_key: tuple[str, ...]
) -> HistoryPolicy | None:
    """What `history` says, for the strategy `scd2`; None for any other. Raises ContractError."""
    if strategy is not Strategy.SCD2:
        if "history" in custom:
            raise custom.place("history").error(
                f"history with the strategy {strategy}",
                expected="the strategy scd2",
                remedy="Remove it, or add the customProperty `strategy: scd2`.",
            )
        return None
    if "history" not in custom:
        raise custom.place("strategy").error(
            "scd2 without history",
            expected="the key that versions are of",
            remedy="Add the customProperty `history`, e.g. {key: [customer_id]}.",
        )
    stated = Stated.of("history", custom, columns, _KNOWN)
    key = stated.key()
    valid_from, valid_to = _validity(stated)
    policy = HistoryPolicy(
        key=key,
        tracked=stated.names("tracked") if "tracked" in stated.values else (),
        deleted=stated.marker(),
        complete=_complete(stated),
        valid_from=valid_from,
        valid_to=valid_to,
        current=_current(stated),
        surrogate=_surrogate(stated, key, primary_key),
        late=stated.late(),
    )
    _check_roles(stated, policy)
    _check_primary_key(stated, policy, primary_key)
    return policy


def _validity(stated: Stated) -> tuple[str, str]:
    """The columns that a version's beginning and its end stand in."""
    begins = _needed(stated, "validFrom", HistoryPolicy.valid_from)
    if begins.type not in _MOMENTS or not begins.required:
        stated.refuse("validFrom", begins, "the beginning of a version", "a required timestamp or date")
    ends = _needed(stated, "validTo", HistoryPolicy.valid_to)
    if ends.type != begins.type or ends.required:
        expected = f"an optional {begins.type}, as {begins.name} is: NULL in the version that holds"
        stated.refuse("validTo", ends, "the end of a version", expected)
    return begins.name, ends.name


def _needed(stated: Stated, name: str, otherwise: str) -> Column:
    if name in stated.values:
        return stated.column(name)
    if otherwise not in stated.columns:
        raise stated.place.error(
            f"the table has no column {otherwise}",
            expected="columns for the beginning and the end of a version",
            remedy=f"Add it, or name the column with `{name}`.",
        )
    return stated.columns[otherwise]


def _complete(stated: Stated) -> bool:
    value = stated.values.get("complete", True)
    if not isinstance(value, bool):
        raise (stated.place / "complete").error(
            "complete is true or false",
            found=repr(value),
            remedy="Write true where the model yields all that is known of each of its keys, false where it adds.",
        )
    return value


def _current(stated: Stated) -> str | None:
    """The column that says which version holds: `is_current` where there is one, unless another or none is stated."""
    name = HistoryPolicy.current
    if "current" in stated.values:
        column = None if stated.values["current"] is None else stated.column("current")
    else:
        column = stated.columns.get(name) if name is not None else None
    if column is None:
        return None
    if column.type != "boolean":
        stated.refuse("current", column, "what tells the version that holds", "a boolean, or `current: null` for none")
    return column.name


def _surrogate(stated: Stated, key: Sequence[str], primary_key: Sequence[str]) -> str | None:
    """The key of a version: the primary key where that can be one, unless another or none is stated."""
    if "surrogate" in stated.values:
        if stated.values["surrogate"] is None:
            return None
        column = stated.column("surrogate")
        if column.type != "string":
            stated.refuse("surrogate", column, "the key of a version", "a string, or `surrogate: null` for none")
        return column.name
    alone = primary_key[0] if len(primary_key) == 1 else None
    return alone if alone is not None and stated.columns[alone].type == "string" and alone not in key else None


def _check_roles(stated: Stated, policy: HistoryPolicy) -> None:
    """Each column is for one thing, and what is tracked is an attribute."""
    roles = {"validFrom": policy.valid_from, "validTo": policy.valid_to}
    roles |= {name: column for name, column in (("current", policy.current), ("surrogate", policy.surrogate)) if column}
    seen = dict.fromkeys(policy.key, "key")
    for role, column in roles.items():
        if column in seen:
            raise (stated.place / role).error(
                f"{column} is {seen[column]} and {role}", expected="each column for one thing", remedy="Name another."
            )
        seen[column] = role
    for position, column in enumerate(policy.tracked):
        if column in seen:
            raise (stated.place / "tracked" / position).error(
                f"{column} is tracked, and is {seen[column]}",
                expected="attributes: columns that say something about the key",
                remedy="Remove it from `tracked`.",
            )


def _check_primary_key(stated: Stated, policy: HistoryPolicy, primary_key: Sequence[str]) -> None:
    """The table has a row for each version, and several of them have the same key."""
    if {*primary_key} <= {*policy.key, policy.current}:
        raise stated.place.error(
            "several versions have the same primary key",
            expected=f"{', '.join(policy.key)} and {policy.valid_from}, or a surrogate",
            found=", ".join(primary_key),
            remedy=f"Mark {policy.valid_from} with `primaryKey: true` too, or instead a string column, the surrogate.",
        )
