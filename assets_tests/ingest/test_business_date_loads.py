"""Loads of tables whose day is derived: the source has no such column, and bronze has it, as its partition too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.errors import SchemaMismatch, SourceChanged
from lakehouse.iceberg import Lake
from lakehouse.ingest import load, load_findings
from lakehouse.quality.finding import Outcome
from lakehouse.settings import Settings
from lakehouse.tables import BusinessDay, Column, Rule, RuleKind, Table, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "business_date": "date", "created_at": "timestamptz"}
BERLIN = BusinessDay("created_at", "Europe/Berlin")
REQUIRED = [
    Rule(f"{name}_not_null", f'"{name}" is not null', column=name, kind=RuleKind.NOT_NULL)
    for name in ("business_date", "created_at")
]


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    declared = make_table(
        COLUMNS, required=["business_date", "created_at"], rules=REQUIRED, window="business_date", reject_limit=1.0
    )
    return replace(declared, business_day=BERLIN)


def stored(lake: Lake, table: Table) -> dict[object, object]:
    rows = lake.table(table.name).scan().read_all().to_pylist()
    return {row["payment_id"]: row["business_date"] for row in rows}


def write(settings: Settings, name: str, **moments: str | None) -> None:
    lines = [json.dumps({"payment_id": one, "created_at": at}) for one, at in moments.items()]
    (settings.state / "landing" / name).write_text("\n".join(lines))


def test_files_are_loaded_into_the_days_of_the_zone(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", P1="2026-01-31T22:59:59Z", P2="2026-01-31T23:00:00Z", P3="2026-03-29T22:00:00Z", P4=None)
    result = load(sources, lake, payments, run_id="1")
    assert stored(lake, payments) == {"P1": date(2026, 1, 31), "P2": date(2026, 2, 1), "P3": date(2026, 3, 30)}
    assert result.windows == (
        Window.of_days(date(2026, 1, 31), date(2026, 2, 1)),
        Window.of_days(date(2026, 3, 30), date(2026, 3, 30)),
    )
    # The partitions are the days: one of them is read without the others.
    days = lake.table(payments.name).changed_days(above=0)
    assert set(days.days) == {date(2026, 1, 31), date(2026, 2, 1), date(2026, 3, 30)}
    failed = {one.rule for one in load_findings(lake, payments, result) if one.outcome is Outcome.FAILED}
    assert failed == {"no_row_quarantined", "created_at_not_null"}

    # A late file touches its own day.
    write(sources, "late.jsonl", P5="2026-01-31T00:30:00+01:00")
    assert load(sources, lake, payments, run_id="2").windows == (Window.of_days(date(2026, 1, 31), date(2026, 1, 31)),)


def test_a_load_that_is_repeated_tells_the_same_days(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", P1="2026-01-31T23:00:00Z")
    load(sources, lake, payments, run_id="1")
    assert load(sources, lake, payments, run_id="2").commit is None
    assert stored(lake, payments) == {"P1": date(2026, 2, 1)}


def test_a_database_is_not_asked_for_the_day(
    sources: Settings, lake: Lake, make_table: MakeTable, payments: Table, database: SecretStr
) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        # Its clock is that of a shop in New York; the session's zone is nobody's business.
        connection.execute("create table payments (payment_id text, created_at timestamptz not null)")
        connection.execute("set time zone 'America/New_York'")
        connection.execute("insert into payments values ('P1', '2025-12-31 17:59:59'), ('P2', '2025-12-31 18:00:00')")
        source = make_table(COLUMNS, source="shop", options={"table": "payments", "watermark": "created_at"}).load
        table = replace(payments, load=source)
        load(sources, lake, table, run_id="1")
        assert stored(lake, table) == {"P1": date(2025, 12, 31), "P2": date(2026, 1, 1)}
        connection.execute("alter table payments drop created_at, add updated_at timestamptz default now()")
        moved = make_table(COLUMNS, source="shop", options={"table": "payments", "watermark": "updated_at"}).load
        with pytest.raises(SourceChanged, match="no column 'created_at'"):
            load(sources, lake, replace(table, load=moved), run_id="2")


@pytest.mark.parametrize("now", [BusinessDay("created_at", "Asia/Tokyo"), BusinessDay("updated_at", BERLIN.zone), None])
def test_days_of_two_zones_are_not_mixed_in_a_table(
    sources: Settings, lake: Lake, payments: Table, now: BusinessDay | None
) -> None:
    updated = Column("updated_at", "timestamptz", required=True)
    before = replace(payments, columns=(*payments.columns, updated))
    # A table without rows takes any.
    lake.create(replace(before, business_day=now))
    lines = {"payment_id": "P1", "created_at": "2026-01-31T23:00:00Z", "updated_at": "2026-02-07T00:00:00Z"}
    (sources.state / "landing" / "a.jsonl").write_text(json.dumps(lines))
    load(sources, lake, before, run_id="1")
    (sources.state / "landing" / "b.jsonl").write_text(json.dumps(lines | {"payment_id": "P2"}))
    with pytest.raises(
        SchemaMismatch, match=r"business_date .* another day .*found day of created_at in Europe/Berlin"
    ):
        load(sources, lake, replace(before, business_day=now), run_id="2")
    load(sources, lake, before, run_id="3")
    assert stored(lake, before) == {"P1": date(2026, 2, 1), "P2": date(2026, 2, 1)}


def test_a_day_of_the_source_does_not_become_a_derived_one(sources: Settings, lake: Lake, payments: Table) -> None:
    plain = replace(payments, business_day=None)
    line = {"payment_id": "P1", "created_at": "2026-01-31T23:00:00Z", "business_date": "2026-01-31"}
    (sources.state / "landing" / "a.jsonl").write_text(json.dumps(line))
    load(sources, lake, plain, run_id="1")
    with pytest.raises(SchemaMismatch, match=r"found the source's own"):
        lake.create(payments)
    assert stored(lake, plain) == {"P1": date(2026, 1, 31)}


def test_columns_of_a_derived_day_may_be_renamed(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", P1="2026-01-31T23:00:00Z")
    load(sources, lake, payments, run_id="1")
    ident, day, moment = payments.columns
    new = replace(
        payments,
        columns=(
            ident,
            replace(day, name="day", renamed_from="business_date"),
            replace(moment, name="born_at", renamed_from="created_at"),
        ),
        rules=(),
        window_column="day",
        business_day=BusinessDay("born_at", "Europe/Berlin"),
    )
    (sources.state / "landing" / "b.jsonl").write_text('{"payment_id": "P2", "born_at": "2026-01-31T22:00:00Z"}')
    load(sources, lake, new, run_id="2")
    rows = lake.table(new.name).scan().read_all().to_pylist()
    assert {row["payment_id"]: row["day"] for row in rows} == {"P1": date(2026, 2, 1), "P2": date(2026, 1, 31)}
    with pytest.raises(SchemaMismatch, match="another day"):
        lake.create(replace(new, business_day=BusinessDay("born_at", "UTC")))
