"""Models without windows: one that read another state of a table is computed anew."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse.tables import Column, Strategy, Table, TableName

Chain = Any
PAYMENTS, PAID = TableName.parse("bronze.payments"), TableName.parse("silver.payments")


@pytest.fixture
def totals(built: Chain) -> Chain:
    """A model over two others, one of which is daily."""
    name = TableName.parse("gold.totals")
    of = Table(name, "test", "", (Column("orders", "long"), Column("paid", "long")), built.tables[0].file)
    sql = """select (select count(*) from silver.orders) as orders,
        (select sum(amount)::bigint from silver.payments) as paid"""
    built.add(of, sql, ["silver.orders", "silver.payments"])
    built.build("gold.totals")
    return built


def test_each_model_follows_what_it_reads(totals: Chain) -> None:
    assert totals.models() == {}
    totals.payments((9, 1, 1))
    assert totals.models() == {"silver.payments": ["bronze.payments"]}
    totals.build("silver.payments")
    assert totals.models() == {"gold.totals": ["silver.payments"]}
    totals.orders((3, 3, 33))
    totals.build("silver.orders", 3)
    assert totals.models() == {"gold.totals": ["silver.orders", "silver.payments"]}
    totals.build("gold.totals")
    assert totals.models() == {}


def test_compaction_and_progress_alone_move_nothing(totals: Chain) -> None:
    for name in (PAYMENTS, PAID):
        table = totals.lake.table(name)
        table.replace_files([file.path for file in table.live_files()], table.scan(), run_key="compacted")
    bronze = totals.lake.table(PAYMENTS)
    before = bronze.snapshot().id
    bronze.append(bronze.scan(limit=0), run_key="nothing-new", progress={"load": {"watermark": 1}})
    assert bronze.snapshot().id != before

    assert totals.models() == {}
    totals.payments((9, 1, 1))
    assert totals.models() == {"silver.payments": ["bronze.payments"]}


def test_a_restored_upstream_is_another_state(totals: Chain) -> None:
    bronze = totals.lake.table(PAYMENTS)
    before = bronze.snapshot().id
    totals.payments((9, 1, 1))
    totals.build("silver.payments")

    bronze.restore(bronze.plan_restore(to=before))

    assert totals.models()["silver.payments"] == ["bronze.payments"]


def test_an_upstream_that_was_empty_is_waited_for(totals: Chain) -> None:
    returns = Table(
        TableName.parse("bronze.returns"),
        "test",
        "",
        totals.tables[1].columns,
        totals.tables[1].file,
        strategy=Strategy.APPEND,
    )
    totals.tables.append(returns)
    totals.lake.create(returns)
    totals.parents[PAID] |= {returns.name}
    totals.build("silver.payments")
    totals.build("gold.totals")
    assert totals.models() == {}

    totals.load("bronze.returns", [{"payment_id": 1, "order_id": 1, "amount": -1}])

    assert totals.models() == {"silver.payments": ["bronze.returns"]}


def test_daily_tables_and_those_without_a_model_are_none_of_these(totals: Chain) -> None:
    totals.orders((3, 3, 33))
    assert totals.models() == {}

    totals.payments((9, 1, 1))
    del totals.parents[PAID]
    assert totals.models() == {}


def test_a_model_that_read_nothing_is_never_out_of_date(totals: Chain) -> None:
    calendar = Table(TableName.parse("gold.calendar"), "test", "", (Column("n", "long"),), totals.tables[0].file)
    totals.add(calendar, "select 1 as n")
    totals.build("gold.calendar")

    assert totals.models() == {}
