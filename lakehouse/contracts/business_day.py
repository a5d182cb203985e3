"""The keys `from` and `zone` of a contract's `window`: a day that a load computes from a timestamp, in a time zone.

How it is computed does not belong here (`ingest/casts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from zoneinfo import available_timezones

from lakehouse.contracts.document import Place
from lakehouse.contracts.expressions import ask_duckdb
from lakehouse.tables import BusinessDay, Column, Layer
from lakehouse.tables.sql import literal


def business_day(
    window: Mapping[str, object], column: Column, columns: Mapping[str, Column], layer: Layer, place: Place
) -> BusinessDay | None:
    """What `from` and `zone` of a window say; None where it has neither. `column` is the window's.

    Raises ContractError for one without the other, for a model, for a zone that nobody knows, and for a column that
    cannot be what it has to be.
    """
    if "from" not in window and "zone" not in window:
        return None
    if layer is not Layer.BRONZE:
        raise place.error(
            f"from and zone in the window of a {layer.value} table",
            remedy="Remove them: what a load has computed is a column of the bronze table, which models select.",
        )
    if column.type != "date":
        raise (place / "column").error(
            f"{column.name} cannot hold the day of a time zone",
            expected="a required date",
            found=column.type,
            remedy="Declare a column for it, which the source need not have: `logicalType: date`, `required: true`.",
        )
    moment = _moment(window.get("from"), columns, place / "from")
    return BusinessDay(moment.name, _zone(window.get("zone"), place / "zone"))


def _moment(name: object, columns: Mapping[str, Column], place: Place) -> Column:
    if not isinstance(name, str) or name not in columns:
        raise place.unknown("column", name, [one.name for one in columns.values() if one.type == "timestamptz"])
    column = columns[name]
    if column.type != "timestamptz" or not column.required:
        raise place.error(
            f"{name} cannot tell a row's day in a time zone",
            expected="a required timestamp with time zone",
            found=f"{'a required' if column.required else 'an optional'} {column.type}",
            remedy="Choose the moment of the row's birth, and make it required; one without a zone is nobody's clock.",
        )
    return column


def _zone(name: object, place: Place) -> str:
    known = _zones()
    if not isinstance(name, str) or name not in known:
        nearest = get_close_matches(str(name), known, n=1, cutoff=0.5)
        raise place.error(
            f"{name!r} is not a time zone" if name is not None else "the window has no time zone",
            expected="a name of the IANA time zone database, such as Europe/Berlin",
            remedy=f"Did you mean {nearest[0]!r}?" if nearest else "Write such a name; offsets alone know no summer.",
        )
    # DuckDB computes the days, and has a time zone database of its own.
    ask_duckdb(f"select timezone({literal(name)}, timestamptz '2026-01-31 12:00:00+00')", name, place)
    return name


@cache
def _zones() -> frozenset[str]:
    """The names that say a place, and UTC: of the abbreviations some mean another zone to every reader."""
    return frozenset(name for name in available_timezones() if "/" in name or name == "UTC")
