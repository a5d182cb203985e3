"""Loads from real sources into a real lake: each row once, in bronze or in quarantine, whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows, write
from lakehouse.errors import ContractError, LoadRejected
from lakehouse.iceberg import Lake
from lakehouse.ingest import load, quarantine_table
from lakehouse.ledger import LOADS
from lakehouse.settings import Settings
from lakehouse.tables import Rule, Table, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id", "amount"])


def test_files_become_bronze_with_their_origin(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1", "12.30"), paid("P2", "7", "2026-01-02 00:30:00+01:00"))
    result = load(sources, lake, payments, run_id="run-1")
    stored = sorted(rows(lake, payments.name), key=lambda row: str(row["payment_id"]))
    extracted_at = stored[0]["_extracted_at"]
    assert isinstance(extracted_at, datetime)
    assert abs((datetime.now(UTC) - extracted_at).total_seconds()) < 600
    assert stored == [
        {
            "payment_id": payment_id,
            "amount": amount,
            "paid_at": at,
            "_extracted_at": extracted_at,
            "_source": source,
            "_run_key": result.run_key,
            "_source_version": None,
            "_extra": None,
        }
        for payment_id, amount, at, source in (
            ("P1", Decimal("12.30"), datetime(2026, 1, 1, 10, tzinfo=UTC), "a.jsonl:1"),
            ("P2", Decimal("7.00"), datetime(2026, 1, 1, 23, 30, tzinfo=UTC), "a.jsonl:2"),
        )
    ]
    assert (result.rows_read, result.rows_published, result.rows_quarantined, result.rows_seen) == (2, 2, 0, 0)
    assert not lake.exists(QUARANTINE)


def test_a_second_load_brings_only_what_is_new_and_a_third_commits_nothing(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    write(sources, "a.jsonl", paid("P1"))
    load(sources, lake, payments, run_id="1")
    write(sources, "0-late.jsonl", paid("P2"))
    second = load(sources, lake, payments, run_id="2")
    third = load(sources, lake, payments, run_id="3")
    assert (second.rows_published, ids(lake, payments)) == (1, ["P1", "P2"])
    assert (third.commit, third.rows_read, third.position) == (None, 0, second.position)
    assert len(lake.table(payments.name).snapshots()) == 2


def test_bad_rows_wait_in_quarantine_and_the_rest_goes_on(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), "{broken", paid("P2", None), paid("P3", "x"), paid("P4"), paid("P5"))
    result = load(sources, lake, payments, run_id="1")
    assert ids(lake, payments) == ["P1", "P4", "P5"]
    assert (result.rows_read, result.rows_published, result.rows_quarantined) == (6, 3, 3)
    waiting = {row["source"]: (json.loads(str(row["broken_rules"])), row["state"]) for row in rows(lake, QUARANTINE)}
    assert waiting == {
        "a.jsonl:2": (["record_parses"], "open"),
        "a.jsonl:3": (["amount_not_null"], "open"),
        "a.jsonl:4": (["amount_type"], "open"),
    }
    assert {row["run_key"] for row in rows(lake, QUARANTINE)} == {result.run_key}


def test_the_balance_stands_in_the_snapshot_and_in_the_ledger(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2"))
    result = load(sources, lake, payments, run_id="run-7")
    (snapshot,) = lake.table(payments.name).snapshots()
    counts = {name: snapshot.summary[f"lakehouse.rows-{name}"] for name in ("read", "published", "quarantined", "seen")}
    assert counts == {"read": "3", "published": "2", "quarantined": "1", "seen": "0"}
    assert snapshot.run_key == result.run_key
    (entry,) = rows(lake, LOADS.name)
    assert result.commit is not None
    assert {name: entry[name] for name in ("table_name", "run_id", "run_key", "snapshot_id", "bytes")} == {
        "table_name": "bronze.payments",
        "run_id": "run-7",
        "run_key": result.run_key,
        "snapshot_id": result.commit.snapshot_id,
        "bytes": result.commit.bytes_added,
    }
    assert (entry["rows_read"], entry["rows_published"], entry["rows_quarantined"], entry["rows_seen"]) == (3, 2, 1, 0)
    assert (entry["position_from"], json.loads(str(entry["position_to"]))) == (None, result.position)


def test_above_the_limit_nothing_is_published_and_the_rejects_are_held_once(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    strict = replace(payments, load=replace(payments.load, reject_limit=0.25))
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2", "x"), paid("P3"))
    for _ in range(2):
        with pytest.raises(LoadRejected, match=r"at most 25\.00%.*found 2 of 4.*reject show bronze\.payments"):
            load(sources, lake, strict, run_id="1")
    assert lake.table(payments.name).snapshots() == ()
    assert [row["state"] for row in rows(lake, QUARANTINE)] == ["held", "held"]
    assert rows(lake, LOADS.name) == []
    assert list((sources.state / "warehouse").rglob("bronze/payments/data/*.parquet")) == []


def test_exactly_the_limit_is_allowed(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None))
    assert load(sources, lake, payments, run_id="1").rows_quarantined == 1


def test_a_held_load_goes_through_when_the_contract_is_mended(
    sources: Settings, lake: Lake, make_table: MakeTable
) -> None:
    strict = make_table(COLUMNS, required=["payment_id"], rules=[Rule("large", "amount > 100")], reject_limit=0.5)
    write(sources, "a.jsonl", paid("P1"), paid("P2", "200"), paid("P3"), paid(None))
    with pytest.raises(LoadRejected):
        load(sources, lake, strict, run_id="1")
    result = load(sources, lake, replace(strict, rules=()), run_id="2")
    assert ids(lake, strict) == ["P1", "P2", "P3"]
    # The record without an id was rejected then and is rejected now: it is not there twice.
    assert (result.rows_quarantined, result.rows_seen) == (0, 1)
    assert balanced(result)


def test_other_rejects_of_the_same_interval_are_not_taken_for_those_of_before(
    sources: Settings, lake: Lake, make_table: MakeTable
) -> None:
    first = make_table(COLUMNS, rules=[Rule("large", "amount > 100")], reject_limit=0.5)
    write(sources, "a.jsonl", paid("P1", "1"), paid("P2", "2"), paid("P3", "300"))
    with pytest.raises(LoadRejected):
        load(sources, lake, first, run_id="1")
    result = load(sources, lake, replace(first, rules=(Rule("small", "amount < 100"),)), run_id="2")
    assert (result.rows_published, result.rows_quarantined, result.rows_seen) == (2, 1, 0)
    assert len(rows(lake, QUARANTINE)) == 3


def test_a_load_of_bad_records_only_still_moves_on(sources: Settings, lake: Lake, payments: Table) -> None:
    lenient = replace(payments, load=replace(payments.load, reject_limit=1.0))
    write(sources, "a.jsonl", "{", "[")
    result = load(sources, lake, lenient, run_id="1")
    assert (result.rows_published, result.rows_quarantined) == (0, 2)
    assert load(sources, lake, lenient, run_id="2").commit is None


def test_the_same_bad_record_delivered_again_is_seen_not_added(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None))
    load(sources, lake, payments, run_id="1")
    write(sources, "a.jsonl", paid("P0"), paid(None), paid("P2"))
    again = load(sources, lake, payments, run_id="2")
    assert (again.rows_read, again.rows_published, again.rows_quarantined, again.rows_seen) == (3, 2, 0, 1)
    assert len(rows(lake, QUARANTINE)) == 1


def test_windows_are_the_days_that_published_rows_touch(sources: Settings, lake: Lake, make_table: MakeTable) -> None:
    table = make_table(COLUMNS, required=["amount"], window="paid_at")
    days = ("2026-01-03T00:00:00Z", "2026-01-01T23:59:59Z", "2026-01-02T01:00:00+02:00", "2026-01-04T00:00:00+01:00")
    rejected = paid("bad", None, "2026-01-09T00:00:00Z")
    write(sources, "a.jsonl", *(paid(f"P{n}", at=day) for n, day in enumerate(days)), rejected)
    result = load(sources, lake, table, run_id="1")
    assert result.windows == (Window(date(2026, 1, 1), date(2026, 1, 2)), Window(date(2026, 1, 3), date(2026, 1, 4)))


def test_progress_is_told(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid("P2"))
    write(sources, "b.jsonl", paid("P3"))
    told: list[tuple[int, str]] = []
    load(sources, lake, payments, run_id="1", on_progress=lambda done, what: told.append((done, what)))
    assert told == [(2, "bronze.payments"), (3, "bronze.payments")]


def test_personal_data_stays_marked_in_quarantine(payments: Table) -> None:
    assert quarantine_table(payments).personal_columns == frozenset()
    columns = (replace(payments.columns[0], personal=True), *payments.columns[1:])
    assert quarantine_table(replace(payments, columns=columns)).personal_columns == {
        "payload",
        "payload_raw",
        "found",
        "parsed",
    }


def test_a_table_without_a_source_is_refused(sources: Settings, lake: Lake, payments: Table) -> None:
    with pytest.raises(ContractError, match="is no source of this project"):
        load(sources, lake, replace(payments, load=None), run_id="1")
    assert not lake.exists(payments.name)
