"""Days of another time zone: what the door stores is the day that a clock on the wall there shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lakehouse.iceberg import arrow_schema
from lakehouse.ingest import Split, split
from lakehouse.sources import Chunk
from lakehouse.tables import BusinessDay, Rule, RuleKind, Table

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MakeTable = Callable[..., Table]
COLUMNS = {"id": "long", "business_date": "date", "created_at": "timestamptz"}
ZONES = [
    "Europe/Berlin",
    "America/New_York",
    # Half an hour of summer.
    "Australia/Lord_Howe",
    # An offset with three quarters of an hour.
    "Asia/Kathmandu",
    # There was no 30 December 2011.
    "Pacific/Apia",
    # The farthest from UTC, on both sides.
    "Pacific/Kiritimati",
    "Pacific/Niue",
    "UTC",
]


@pytest.fixture(scope="session")
def table_in(make_table: MakeTable) -> Callable[..., Table]:
    def make(zone: str, *rules: Rule) -> Table:
        required = [
            Rule(f"{name}_not_null", f'"{name}" is not null', column=name, kind=RuleKind.NOT_NULL)
            for name in ("business_date", "created_at")
        ]
        declared = make_table(
            COLUMNS, required=["business_date", "created_at"], rules=[*required, *rules], window="business_date"
        )
        return replace(declared, business_day=BusinessDay("created_at", zone))

    return make


def through(table: Table, *moments: object, **columns: object) -> Split:
    rows = pa.table({"id": list(range(len(moments))), "created_at": [*moments], **columns})
    sources = pa.chunked_array([[f"file:{number}" for number in range(len(moments))]], pa.string())
    return split(table, Chunk(rows, sources), AT, "run-1")


def days_of(made: Split) -> list[object]:
    return list(made.accepted.column("business_date").to_pylist())


def rules_of(made: Split) -> dict[str, list[str]]:
    return {row["source"]: json.loads(row["broken_rules"]) for row in made.rejected.to_pylist()}


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        # Berlin's midnight is 23:00 UTC in winter and 22:00 in summer.
        ("Europe/Berlin", "2026-01-31T22:59:59.999999Z", "2026-01-31"),
        ("Europe/Berlin", "2026-01-31T23:00:00Z", "2026-02-01"),
        ("Europe/Berlin", "2026-07-31T21:59:59Z", "2026-07-31"),
        ("Europe/Berlin", "2026-07-31T22:00:00Z", "2026-08-01"),
        # The day that the clocks go forward begins by the winter's offset and ends by the summer's: 23 hours.
        ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T21:59:59Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-29T22:00:00Z", "2026-03-30"),
        # And back: 25 hours.
        ("Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-26"),
        ("America/New_York", "2026-03-08T04:59:59Z", "2026-03-07"),
        ("America/New_York", "2026-03-09T03:59:59Z", "2026-03-08"),
        ("America/New_York", "2026-11-01T03:59:59Z", "2026-10-31"),
        ("America/New_York", "2026-11-02T04:59:59Z", "2026-11-01"),
        # The ends of a year.
        ("America/New_York", "2026-01-01T04:59:59Z", "2025-12-31"),
        ("Asia/Kathmandu", "2025-12-31T18:15:00Z", "2026-01-01"),
        ("Asia/Kathmandu", "2025-12-31T18:14:59Z", "2025-12-31"),
        ("Pacific/Kiritimati", "2025-12-31T10:00:00Z", "2026-01-01"),
        ("Australia/Lord_Howe", "2026-04-04T12:59:59Z", "2026-04-04"),
        ("Australia/Lord_Howe", "2026-04-05T13:29:59Z", "2026-04-05"),
        ("Australia/Lord_Howe", "2026-04-05T13:30:00Z", "2026-04-06"),
        # Samoa crossed the date line in the night of 29 December 2011.
        ("Pacific/Apia", "2011-12-30T09:59:59Z", "2011-12-29"),
        ("Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-31"),
        # An offset in the text is what the source's clock said, and no matter.
        ("Europe/Berlin", "2026-01-31T23:30:00-05:00", "2026-02-01"),
        ("Europe/Berlin", "2026-02-01 00:30:00+05:00", "2026-01-31"),
    ],
)
def test_the_day_is_that_of_the_clocks_there(table_in: Callable[..., Table], zone: str, moment: str, day: str) -> None:
    made = through(table_in(zone), moment, datetime.fromisoformat(moment).astimezone(UTC).isoformat())
    assert days_of(made) == [date.fromisoformat(day)] * 2


MOMENTS = st.datetimes(datetime(1970, 1, 2), datetime(2037, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001  (by hypothesis)
NEAR = st.builds(
    lambda day, seconds: datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds),
    st.dates(date(1970, 1, 2), date(2037, 12, 30)),
    # Midnights of the zones, and the seconds around them.
    st.builds(lambda quarters, off: quarters * 900 + off, st.integers(-56, 56), st.integers(-1, 1)),
)


@given(zone=st.sampled_from(ZONES), moments=st.lists(MOMENTS | NEAR, min_size=1, max_size=30), as_text=st.booleans())
@example(
    zone="Pacific/Apia",
    moments=[datetime(2011, 12, 30, 9 + n // 2, 30 * (n % 2), tzinfo=UTC) for n in range(4)],
    as_text=False,
)
def test_every_day_is_that_of_zoneinfo(
    table_in: Callable[..., Table], zone: str, moments: list[datetime], as_text: bool
) -> None:
    given_as = (
        [moment.isoformat() for moment in moments] if as_text else pa.array(moments, pa.timestamp("us", tz="UTC"))
    )
    made = through(table_in(zone), *given_as) if as_text else through_typed(table_in(zone), given_as)
    assert days_of(made) == [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]
    assert made.rejected.num_rows == 0


def through_typed(table: Table, moments: pa.Array) -> Split:
    return split(table, Chunk(pa.table({"created_at": moments}), "source"), AT, "run-1")


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_of_two_years_has_the_day_of_zoneinfo(table_in: Callable[..., Table], zone: str) -> None:
    moments = [datetime(2025, 12, 1, tzinfo=UTC) + timedelta(minutes=15 * n) for n in range(2 * 366 * 96)]
    made = through_typed(table_in(zone), pa.array(moments, pa.timestamp("us", tz="UTC")))
    assert days_of(made) == [moment.astimezone(ZoneInfo(zone)).date() for moment in moments]


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s", tz="UTC"), pa.timestamp("ns", tz="UTC"), pa.timestamp("us", tz="Asia/Tokyo")]
)
def test_whatever_the_source_gives_a_moment_as(table_in: Callable[..., Table], kind: pa.DataType) -> None:
    moments = pa.array([datetime(2026, 1, 31, 23, 0, tzinfo=UTC)], kind)
    assert days_of(through_typed(table_in("Europe/Berlin"), moments)) == [date(2026, 2, 1)]


def test_the_rows_have_the_schema_and_a_day_that_comes_along_is_not_believed(table_in: Callable[..., Table]) -> None:
    table = table_in("Europe/Berlin")
    made = through(table, "2026-01-31T23:00:00Z", business_date=["1999-01-01"])
    assert made.accepted.schema.equals(arrow_schema(table.stored_columns))
    assert days_of(made) == [date(2026, 2, 1)]


def test_a_moment_that_is_missing_or_none_is_at_fault_and_not_its_day(table_in: Callable[..., Table]) -> None:
    made = through(table_in("Europe/Berlin"), None, "yesterday", "2026-01-31")
    assert rules_of(made) == {"file:0": ["created_at_not_null"], "file:1": ["created_at_type"]}
    assert days_of(made) == [date(2026, 1, 31)]
    without = split(table_in("UTC"), Chunk(pa.table({"id": [1]}), "file"), AT, "run-1")
    assert rules_of(without) == {"file": ["created_at_not_null"]}


def test_rules_may_speak_of_the_day(table_in: Callable[..., Table]) -> None:
    table = table_in("Europe/Berlin", Rule("not_before_the_shop", "business_date >= date '2026-02-01'"))
    made = through(table, "2026-01-31T22:59:59Z", "2026-01-31T23:00:00Z")
    assert rules_of(made) == {"file:0": ["not_before_the_shop"]}
    assert days_of(made) == [date(2026, 2, 1)]


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Asia/Tokyo", "0001-01-01T00:00:00Z", date(1, 1, 1)),
        ("UTC", "9999-12-31T23:59:59.999999Z", date(9999, 12, 31)),
        ("America/New_York", "9999-12-31T23:59:59.999999Z", date(9999, 12, 31)),
        ("Europe/Berlin", "9999-12-31T00:00:00Z", date(9999, 12, 31)),
        # Days that no calendar of ours has.
        ("Europe/Berlin", "9999-12-31T23:00:00Z", None),
        ("America/New_York", "0001-01-01T00:00:00Z", None),
    ],
)
def test_the_ends_of_the_calendar(table_in: Callable[..., Table], zone: str, moment: str, day: date | None) -> None:
    made = through(table_in(zone), moment)
    assert days_of(made) == ([] if day is None else [day])
    assert rules_of(made) == ({} if day is not None else {"file:0": ["business_date_type"]})
    if day is None:
        (record,) = made.rejected.to_pylist()
        assert zone in record["error"]
        assert json.loads(record["found"]) == {"created_at": moment}


def test_infinity_is_quarantined_and_ends_no_load(table_in: Callable[..., Table]) -> None:
    # What PostgreSQL's infinity arrives as, and the farthest that Arrow can say.
    moments = pa.array([2**63 - 1, -(2**63) + 1, 0], pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    made = through_typed(table_in("Europe/Berlin"), moments)
    assert days_of(made) == [date(1970, 1, 1)]
    broken = [json.loads(row["broken_rules"]) for row in made.rejected.to_pylist()]
    assert all("created_at_type" in rules for rules in broken)
    assert len(broken) == 2
