"""Loads from real sources into a real lake: each row once, in bronze or in quarantine, whatever happens on the way."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pydantic import SecretStr

from lakehouse.errors import ContractError, Fenced, LoadRejected, SourceChanged, SourceUnreachable
from lakehouse.iceberg import Lake, connect
from lakehouse.ingest import Door, LoadResult, load, quarantine_table
from lakehouse.ingest.intake import Intake
from lakehouse.ingest.quarantine import collecting
from lakehouse.ledger import LOADS
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Extract
from lakehouse.tables import Rule, Table, TableName, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
QUARANTINE = TableName.parse("quarantine.shop_payments")


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id", "amount"])


def rows(lake: Lake, name: TableName) -> list[dict[str, object]]:
    return list(lake.table(name).scan().read_all().to_pylist()) if lake.exists(name) else []


def ids(lake: Lake, table: Table) -> list[object]:
    return sorted(str(row["payment_id"]) for row in rows(lake, table.name))


def write(settings: Settings, name: str, *records: object) -> None:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (settings.state / "landing" / name).write_text("\n".join(lines))


def paid(payment_id: str | None, amount: str | None = "1.00", at: str = "2026-01-01T10:00:00Z") -> dict[str, object]:
    return {"payment_id": payment_id, "amount": amount, "paid_at": at}


def balanced(result: LoadResult) -> bool:
    return result.rows_read == result.rows_published + result.rows_quarantined + result.rows_seen


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
        with pytest.raises(LoadRejected, match=r"at most 25\.00%.*found 2 of 4.*quarantine\.shop_payments"):
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
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2"))
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


def test_a_load_killed_between_rejects_and_bronze_is_done_again_without_doubling(
    sources: Settings, lake: Lake, payments: Table, tmp_path: Path
) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), "{broken", paid("P2"), paid("P3"))
    script = textwrap.dedent(
        """
        import os, pickle, sys
        from lakehouse.iceberg import Lake, LakeTable
        from lakehouse.ingest import load
        from lakehouse.tables import Layer

        settings, table = pickle.load(open(sys.argv[1], "rb"))
        append = LakeTable.append

        def die_before_bronze(self, rows, **promises):
            if self.name.layer is Layer.BRONZE:
                rows.read_all()
                os._exit(9)
            return append(self, rows, **promises)

        LakeTable.append = die_before_bronze
        load(settings, Lake.open(settings), table, run_id="killed")
        """
    )
    (tmp_path / "task").write_bytes(pickle.dumps((sources, payments)))
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path / "task")], check=False, capture_output=True)
    assert died.returncode == 9, died.stderr.decode()
    assert (len(rows(lake, QUARANTINE)), rows(lake, payments.name)) == (2, [])

    write(sources, "b.jsonl", paid("P4"), paid(None))
    result = load(sources, lake, payments, run_id="again")
    assert ids(lake, payments) == ["P1", "P2", "P3", "P4"]
    assert (result.rows_quarantined, result.rows_seen, len(rows(lake, QUARANTINE))) == (1, 2, 3)
    assert balanced(result)


def test_of_two_loads_of_different_intervals_one_is_fenced(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None))
    inner: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not inner:
            write(sources, "b.jsonl", paid("P2"))
            inner.append(load(sources, lake, payments, run_id="faster"))

    with pytest.raises(Fenced):
        load(sources, lake, payments, run_id="slower", on_progress=meanwhile)
    assert inner[0].rows_published == 2
    assert ids(lake, payments) == ["P1", "P2"]
    assert len(rows(lake, QUARANTINE)) == 1
    assert load(sources, lake, payments, run_id="next").commit is None


def test_two_loads_of_the_same_interval_make_one_snapshot(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2"))
    inner: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not inner:
            inner.append(load(sources, lake, payments, run_id="faster"))

    outer = load(sources, lake, payments, run_id="slower", on_progress=meanwhile)
    assert outer.commit is not None
    assert outer.commit.already_done
    assert inner[0].commit is not None
    assert outer.commit.snapshot_id == inner[0].commit.snapshot_id
    assert (outer.rows_read, outer.rows_published, outer.rows_quarantined, outer.rows_seen) == (3, 2, 1, 0)
    assert ids(lake, payments) == ["P1", "P2"]
    assert len(rows(lake, QUARANTINE)) == len(rows(lake, LOADS.name)) == 1


def test_a_failure_midway_publishes_nothing(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"))

    def stop(_rows: int, _what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(sources, lake, payments, run_id="1", on_progress=stop)
    assert lake.table(payments.name).snapshots() == ()
    assert load(sources, lake, payments, run_id="2").rows_published == 1


def test_rows_that_the_source_counted_and_nobody_saw_stop_the_load(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    chunk = Chunk(pa.table({"payment_id": ["P1"], "amount": ["1"]}), "somewhere")
    with Door(payments) as door, collecting(sources.state / "tmp") as rejects:
        extract = Extract(iter([chunk]), {"x": 1}, expected_rows=2)
        intake = Intake(lake, payments, extract, door, rejects, began_at=datetime.now(UTC), run_key="k")
        with pytest.raises(LoadRejected, match=r"does not add up.*expected 2 rows.*found 1 read, 1 good, 0 rejected"):
            list(intake.batches())


def test_progress_is_told(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid("P2"))
    write(sources, "b.jsonl", paid("P3"))
    told: list[tuple[int, str]] = []
    load(sources, lake, payments, run_id="1", on_progress=lambda done, what: told.append((done, what)))
    assert told == [(2, "bronze.payments"), (3, "bronze.payments")]


def test_personal_data_stays_marked_in_quarantine(payments: Table) -> None:
    assert quarantine_table(payments).personal_columns == frozenset()
    columns = (replace(payments.columns[0], personal=True), *payments.columns[1:])
    assert quarantine_table(replace(payments, columns=columns)).personal_columns == {"payload", "found"}


@pytest.fixture
def orders(make_table: MakeTable) -> Table:
    return make_table(
        {
            "order_id": "long",
            "price": "decimal(10, 2)",
            "ordered": "date",
            "updated_at": "timestamptz",
            "note": "string",
        },
        required=["order_id", "updated_at"],
        rules=[Rule("price_minimum", '"price" >= 0', column="price")],
        source="shop",
        options={"table": "orders", "watermark": "updated_at", "clock": "shop_now()"},
        window="ordered",
    )


@pytest.fixture
def shop(database: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "create table orders (order_id bigint primary key, price numeric(10, 2), ordered date, note text,"
            " updated_at timestamptz not null)"
        )
        connection.execute("create table clock as select timestamptz '2026-01-01 00:00Z' as now")
        connection.execute(
            "create function shop_now() returns timestamptz language sql stable as $$ select now from clock $$"
        )
        yield connection


def test_postgresql_to_bronze_and_back_through_duckdb(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute(
        "insert into orders select g, g / 100.0, date '2026-01-01' + (g % 5)::int, 'note ' || g,"
        " timestamptz '2026-01-01 00:00Z' + g * interval '1 second' from generate_series(1, 5000) g"
    )
    shop.execute("update orders set price = -1 where order_id = 17")
    shop.execute("update clock set now = '2026-01-02 00:00Z'")
    result = load(sources, lake, orders, run_id="1")
    assert (result.rows_read, result.rows_published, result.rows_quarantined) == (5000, 4999, 1)
    assert result.windows == (Window(date(2026, 1, 1), date(2026, 1, 6)),)
    with connect(sources) as duck:
        relation = lake.table(orders.name).relation_sql()
        assert "iceberg_scan" in relation
        columns = "order_id, price, ordered, note, updated_at"
        read_back = duck.execute(f"select {columns} from {relation} order by order_id").fetchall()
    assert read_back == shop.execute(f"select {columns} from orders where order_id <> 17 order by order_id").fetchall()
    (reject,) = rows(lake, QUARANTINE)
    assert json.loads(str(reject["payload"]))["price"] == "-1.00"

    shop.execute("update orders set note = 'changed', updated_at = '2026-01-02 12:00Z' where order_id in (1, 17)")
    shop.execute("update clock set now = '2026-01-03 00:00Z'")
    second = load(sources, lake, orders, run_id="2")
    assert (second.rows_read, second.rows_published, second.rows_quarantined, second.rows_seen) == (2, 1, 1, 0)
    versions = [row["note"] for row in rows(lake, orders.name) if row["order_id"] == 1]
    assert sorted(map(str, versions)) == ["changed", "note 1"]
    assert load(sources, lake, orders, run_id="3").commit is None


def test_a_source_lost_midway_publishes_nothing_and_the_next_load_gets_all(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute(
        "insert into orders select g, 1, '2026-01-01', repeat('x', 500), '2026-01-01 00:00Z'"
        " from generate_series(1, 100000) g"
    )
    shop.execute("update clock set now = '2026-01-02 00:00Z'")

    def cut(_rows: int, _what: str) -> None:
        shop.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lakehouse'")

    with pytest.raises(SourceUnreachable):
        load(sources, lake, orders, run_id="1", on_progress=cut)
    assert lake.table(orders.name).snapshots() == ()
    assert load(sources, lake, orders, run_id="2").rows_published == 100_000


def test_a_source_that_changed_is_said_before_anything_is_read(
    sources: Settings, lake: Lake, orders: Table, shop: psycopg.Connection
) -> None:
    shop.execute("alter table orders rename price to cost")
    with pytest.raises(SourceChanged, match=r"'price'.*bronze\.payments.*cost"):
        load(sources, lake, orders, run_id="1")
    assert lake.table(orders.name).snapshots() == ()


def test_a_table_without_a_source_is_refused(sources: Settings, lake: Lake, payments: Table) -> None:
    with pytest.raises(ContractError, match="is no source of this project"):
        load(sources, lake, replace(payments, load=None), run_id="1")
    assert not lake.exists(payments.name)
