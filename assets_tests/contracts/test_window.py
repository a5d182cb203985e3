"""A window whose day a load computes: `from` a timestamp, in a time `zone`; what cannot be is refused at its place."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from lakehouse.contracts.diff import compare
from lakehouse.errors import ContractError
from lakehouse.tables import BusinessDay, Table

Declare = Callable[..., Table]
Properties = list[dict[str, Any]]
ID = {"name": "id", "logicalType": "integer", "required": True}
DAY = {"name": "business_date", "logicalType": "date", "required": True}
BORN = {"name": "created_at", "logicalType": "timestamp", "required": True}
CHANGED = {"name": "updated_at", "logicalType": "timestamp"}
LOCAL = {"name": "till_at", "logicalType": "timestamp", "required": True, "logicalTypeOptions": {"timezone": False}}
COLUMNS: Properties = [ID, DAY, BORN, CHANGED, LOCAL]
WINDOW = {"column": "business_date", "start": "2026-01-01", "from": "created_at", "zone": "Europe/Berlin"}
LOAD = {"source": "shop", "table": "things", "watermark": "updated_at"}


@pytest.fixture
def bronze(declare: Declare) -> Callable[..., Table]:
    def make(properties: Properties = COLUMNS, **window: object) -> Table:
        stated = {key: value for key, value in {**WINDOW, **window}.items() if value is not None}
        return declare(properties, custom={"load": LOAD, "window": stated}, name="bronze.things")

    return make


def test_a_derived_day_is_a_window_that_the_source_is_not_asked_for(bronze: Callable[..., Table]) -> None:
    table = bronze()
    assert (table.window_column, table.window_start) == ("business_date", date(2026, 1, 1))
    assert table.business_day == BusinessDay("created_at", "Europe/Berlin")
    assert [column.name for column in table.columns] == ["id", "business_date", "created_at", "updated_at", "till_at"]
    assert [column.name for column in table.source_columns] == ["id", "created_at", "updated_at", "till_at"]
    assert [(field.column, field.transform) for field in table.partition_by] == [("business_date", "day")]


def test_a_day_of_the_source_is_asked_for(bronze: Callable[..., Table]) -> None:
    table = bronze(**{"from": None, "zone": None})
    assert (table.window_column, table.business_day) == ("business_date", None)
    assert table.source_columns == table.columns


@pytest.mark.parametrize(
    "zone", ["UTC", "America/New_York", "Asia/Kathmandu", "America/Argentina/Ushuaia", "Etc/GMT+5"]
)
def test_zones_by_their_name(bronze: Callable[..., Table], zone: str) -> None:
    assert bronze(zone=zone).business_day == BusinessDay("created_at", zone)


@pytest.mark.parametrize(
    ("window", "place", "said"),
    [
        ({"zone": None}, "zone", "no time zone"),
        ({"zone": "Europe/Berln"}, "zone", "'Europe/Berln' is not a time zone.*Did you mean 'Europe/Berlin'"),
        ({"zone": "europe/berlin"}, "zone", "not a time zone"),
        ({"zone": "+02:00"}, "zone", "not a time zone.*IANA"),
        # Of three letters, DuckDB and Python take some for different zones.
        ({"zone": "EST"}, "zone", "not a time zone"),
        ({"zone": 2}, "zone", "2 is not a time zone"),
        ({"zone": "Europe/Berlin'); drop table x --"}, "zone", "not a time zone"),
        ({"from": None}, "from", "unknown column 'None'.*one of created_at, updated_at"),
        ({"from": "createdat"}, "from", "unknown column 'createdat'.*Did you mean 'created_at'"),
        ({"from": "updated_at"}, "from", "an optional timestamptz"),
        ({"from": "business_date"}, "from", "a required date"),
        ({"from": "till_at"}, "from", "expected a required timestamp with time zone; found a required timestamp"),
        ({"column": "created_at"}, "column", "created_at cannot hold the day of a time zone"),
        ({"column": "updated_at"}, "column", "cannot tell a row's day"),
        ({"timezone": "UTC"}, "timezone", "unknown key of window 'timezone'"),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(
    bronze: Callable[..., Table], window: dict[str, object], place: str, said: str
) -> None:
    with pytest.raises(ContractError, match=f"(?s){said}") as caught:
        bronze(**window)
    assert f"customProperties[1].value.{place}:" in str(caught.value)


def test_a_model_selects_its_day(declare: Declare) -> None:
    key = {**ID, "primaryKey": True}
    with pytest.raises(ContractError, match=r"from and zone in the window of a silver table.*models select"):
        declare([key, DAY, BORN], custom={"strategy": "overwrite", "window": WINDOW}, name="silver.things")
    plain = {"column": "business_date", "start": "2026-01-01"}
    silver = declare([key, DAY, BORN], custom={"strategy": "overwrite", "window": plain}, name="silver.things")
    assert (silver.window_column, silver.business_day) == ("business_date", None)


def moved(old: Table, new: Table) -> list[tuple[str, str, bool]]:
    return [(one.subject, one.change, one.breaking) for one in compare(old, new) if one.subject == "window"]


def test_another_zone_breaks_readers_for_rows_belong_to_other_days(bronze: Callable[..., Table]) -> None:
    berlin, again, tokyo, plain = bronze(), bronze(), bronze(zone="Asia/Tokyo"), bronze(**{"from": None, "zone": None})
    both = [{**one, "required": True} if one is CHANGED else one for one in COLUMNS]
    assert moved(berlin, again) == []
    assert moved(berlin, tokyo) == [
        (
            "window",
            "business_date (day of created_at in Europe/Berlin) -> business_date (day of created_at in Asia/Tokyo)",
            True,
        )
    ]
    assert moved(plain, berlin) == [
        ("window", "business_date -> business_date (day of created_at in Europe/Berlin)", True)
    ]
    assert [change[2] for change in moved(bronze(both), bronze(both, **{"from": "updated_at"}))] == [True]
    (later,) = moved(berlin, bronze(start="2026-02-01"))
    assert later == ("window", "start 2026-01-01 -> 2026-02-01", True)
