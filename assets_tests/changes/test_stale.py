"""Which days are out of date: found from the tables alone, on a real lake."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lakehouse.changes import Memory, stale_days
from lakehouse.iceberg import Lake, LakeTable, held_for_consumers
from lakehouse.storage.open import open_store
from lakehouse.tables import Column, Follow, Reach, TableName

Chain = Any
SILVER, GOLD = TableName.parse("silver.orders"), TableName.parse("gold.orders")
BRONZE, PAID = TableName.parse("bronze.orders"), TableName.parse("silver.payments")
TEN = list(range(1, 11))


def test_nothing_is_out_of_date_after_a_build(built: Chain) -> None:
    assert built.stale() == {}
    assert built.models() == {}


def test_late_rows_make_their_own_days_out_of_date(built: Chain) -> None:
    built.orders((3, 3, 33), (11, 7, 0))

    assert built.stale() == {"silver.orders": [3, 7]}
    built.build("silver.orders", 3)
    assert built.stale() == {"silver.orders": [7], "gold.orders": [3]}
    built.build("silver.orders", 7)
    assert built.stale() == {"gold.orders": [3, 7]}
    built.build("gold.orders", 3, 7)
    assert built.stale() == {}


def test_late_payments_make_the_days_of_their_orders_out_of_date(built: Chain) -> None:
    built.payments((4, 5, 50), (5, 9, 90), (6, 999, 1))

    assert built.stale() == {}
    assert built.models() == {"silver.payments": ["bronze.payments"]}
    built.build("silver.payments")
    assert built.models() == {}
    assert built.stale() == {"gold.orders": [5, 9]}
    built.build("gold.orders", 9)
    assert built.pending("gold.orders", "silver.payments") == [5]
    assert built.stale() == {"gold.orders": [5]}
    built.build("gold.orders", 5)
    assert built.stale() == {}
    assert [row[3] for row in built.rows("gold.orders")] == [10, 20, 30, 0, 50, 0, 0, 0, 90, 0]


def test_a_payment_that_comes_before_its_order_is_found_with_the_order(built: Chain) -> None:
    built.payments((9, 77, 70))
    built.build("silver.payments")
    assert built.stale() == {}
    built.build("gold.orders", 2)

    built.orders((77, 6, 7))
    built.build("silver.orders", 6)
    assert built.stale() == {"gold.orders": [6]}
    built.build("gold.orders", 6)

    assert (77, built.lake.table(GOLD).days()[5], 7, 70) in built.rows("gold.orders")
    assert built.stale() == {}


def test_a_cause_names_the_change_and_keeps_its_number(built: Chain) -> None:
    built.orders((3, 3, 33))
    at = built.lake.table(BRONZE).snapshot()
    (cause,) = next(iter(built.causes()["silver.orders"].days.values()))
    assert (cause.upstream, cause.sequence, cause.snapshot_id) == (BRONZE, at.sequence_number, at.id)

    built.orders((7, 7, 77))
    days = built.causes()["silver.orders"].days
    assert [one.sequence for (one,) in days.values()] == [at.sequence_number, at.sequence_number + 1]

    built.build("silver.orders", 5)
    days = built.causes()["silver.orders"].days
    assert [one.sequence for (one,) in days.values()] == [at.sequence_number, at.sequence_number + 1]


def test_a_day_that_changes_again_has_a_new_cause(built: Chain) -> None:
    """So that what was asked for in vain is asked for once more when there is something new."""
    built.orders((3, 3, 33))
    (first,) = next(iter(built.causes()["silver.orders"].days.values()))
    built.build("silver.orders", 5)

    built.orders((3, 3, 34))

    (second,) = next(iter(built.causes()["silver.orders"].days.values()))
    assert second.sequence > first.sequence


def test_each_upstream_is_a_cause_of_its_own(built: Chain) -> None:
    built.orders((3, 3, 33))
    built.payments((9, 3, 1))
    built.build("silver.payments")
    built.build("silver.orders", 3)

    (causes,) = built.causes()["gold.orders"].days.values()

    assert [cause.upstream for cause in causes] == [SILVER, PAID]


def test_a_table_that_was_never_built_asks_for_nothing(chain: Chain) -> None:
    chain.orders((1, 1, 1))
    chain.payments((1, 1, 1))
    assert (chain.stale(), chain.models()) == ({}, {})

    chain.lake.create(chain.declarations[SILVER])
    chain.lake.create(chain.declarations[PAID])
    assert (chain.stale(), chain.models()) == ({}, {})


def test_a_day_that_is_new_in_an_upstream_is_asked_for(built: Chain) -> None:
    built.orders((12, 12, 12))

    assert built.stale() == {"silver.orders": [12]}


def test_what_reaches_every_day_is_spelled_out(built: Chain) -> None:
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    built.orders((12, 12, 12))
    built.build("silver.orders", 12)
    built.payments((9, 3, 1))
    built.build("silver.payments")

    assert built.stale() == {"gold.orders": [*TEN, 12]}  # the twelfth is silver's only, yet
    built.build("gold.orders", 1, 9)
    assert built.stale() == {"gold.orders": [10, 12]}


def test_two_ways_to_one_upstream_are_both_followed(built: Chain) -> None:
    """Gold reads bronze by itself, and through silver: both have to come."""
    built.parents[GOLD] |= {BRONZE}
    built.sql[GOLD] += " and exists (from bronze.orders as b where b.order_id = placed.order_id)"
    built.build("gold.orders")

    built.orders((3, 3, 33))
    assert built.stale() == {"silver.orders": [3], "gold.orders": [3]}
    built.build("gold.orders", 3)
    assert built.stale() == {"silver.orders": [3]}
    built.build("silver.orders", 3)
    assert built.stale() == {"gold.orders": [3]}
    built.build("gold.orders", 3)
    assert built.stale() == {}


def test_a_table_that_reads_itself_is_not_out_of_date_because_of_that(built: Chain) -> None:
    built.parents[SILVER] |= {SILVER}
    built.sql[SILVER] = "select order_id, day, n from silver.orders where {window}"

    built.build("silver.orders", 3)

    assert "silver.orders" not in built.stale()


def test_days_of_another_name_are_followed_when_the_contract_says_so(built: Chain) -> None:
    columns = (Column("order_id", "long", required=True), Column("placed_on", "date", required=True))
    renamed = replace(
        built.tables[4],
        name=TableName.parse("gold.renamed"),
        columns=columns,
        window_column="placed_on",
        primary_key=(),
    )
    sql = "select * from (select order_id, day as placed_on from silver.orders) where {window}"
    built.add(replace(renamed, follows=(Follow(SILVER, Reach.SAME_DAY),)), sql, ["silver.orders"])
    built.build("gold.renamed")

    built.orders((3, 3, 33))
    built.build("silver.orders", 3)
    assert built.stale()["gold.renamed"] == [3]

    built.add(renamed, sql, ["silver.orders"])
    assert built.stale()["gold.renamed"] == TEN


def test_compaction_and_expiry_make_nothing_out_of_date(built: Chain) -> None:
    built.orders((3, 3, 33))
    for name in (BRONZE, SILVER, PAID):
        table = built.lake.table(name)
        files = [file.path for file in table.live_files() if "2026-01-03" in file.partition or name == PAID]
        table.replace_files(
            files, table.scan(where=None if name == PAID else "day == '2026-01-03'"), run_key="compacted"
        )
    assert (built.stale(), built.models()) == ({"silver.orders": [3]}, {})
    built.build("silver.orders", 3)
    built.build("gold.orders", 3)

    for name in (BRONZE, SILVER, PAID, GOLD):
        expire(built, name)
    assert (built.stale(), built.models()) == ({}, {})


@pytest.mark.parametrize("remembered", [True, False])
def test_a_restored_upstream_is_followed_back(built: Chain, *, remembered: bool) -> None:
    memory = Memory() if remembered else None
    silver = built.lake.table(SILVER)
    before = silver.snapshot().id
    built.orders((3, 3, 33))
    built.build("silver.orders", 3)
    assert built.stale(memory) == {"gold.orders": [3]}
    built.build("gold.orders", 3)

    silver.restore(silver.plan_restore(to=before))

    assert built.stale(memory) == {"silver.orders": [3], "gold.orders": TEN}
    built.build("gold.orders", 1, 10)
    assert built.stale(memory) == {"silver.orders": [3]}
    built.build("silver.orders", 3)
    assert built.stale(memory) == {"gold.orders": [3]}


def test_a_restored_reader_has_its_days_to_do_again(built: Chain) -> None:
    silver = built.lake.table(SILVER)
    before = silver.snapshot().id
    built.orders((3, 3, 33), (5, 5, 55))
    built.build("silver.orders", 3, 5)

    silver.restore(silver.plan_restore(to=before))

    assert built.stale()["silver.orders"] == [3, 5]


def test_a_dropped_upstream_asks_for_nothing_until_it_is_there_again(built: Chain) -> None:
    built.lake.drop(PAID)
    assert built.stale() == {}

    built.build("silver.payments")
    assert built.stale() == {"gold.orders": TEN}


class Racing(Lake):
    """A lake in which something happens just before a table is looked up for the first time."""

    before: Callable[[], object] | None = None
    name: TableName | None = None

    def look(self, name: TableName) -> LakeTable:
        if name == self.name and self.before is not None:
            happen, self.before = self.before, None
            happen()
        return super().look(name)


def test_a_run_that_publishes_while_one_asks_does_not_look_like_a_restore(built: Chain) -> None:
    """The second reader of silver has followed it further than silver was when the first one was asked about."""
    second = replace(built.tables[4], name=TableName.parse("gold.second"))
    built.add(second, built.sql[GOLD], ["silver.orders", "silver.payments"])
    built.build("gold.second")
    built.orders((3, 3, 33))
    lake = Racing.open(built.settings)
    assert isinstance(lake, Racing)
    lake.name = second.name

    def publish() -> None:
        built.build("silver.orders", 3)
        built.build("gold.second", 3)

    lake.before = publish
    found = stale_days(built.settings, lake, built.declarations, built.parents)

    assert lake.before is None
    assert second.name not in found
    assert all(len(stale.days) == 1 for stale in found.values())


def test_what_a_reader_has_followed_is_kept_for_it_when_its_builds_are_gone(built: Chain) -> None:
    """Compaction and expiry have left no snapshot of the reader that a build made."""
    gold, paid = built.lake.table(GOLD), built.lake.table(PAID)
    gold.replace_files([file.path for file in gold.live_files()], gold.scan(), run_key="compacted")
    expire(built, GOLD)
    assert len(gold.snapshots()) == 1
    built.payments((8, 4, 1))
    built.build("silver.payments")

    held = held_for_consumers(built.lake, PAID, now=datetime.now(UTC), at_most=timedelta(days=7))
    expire(built, PAID, held=held.values())

    assert len(paid.snapshots()) == 2
    assert built.stale() == {"gold.orders": [4]}


def expire(chain: Chain, name: TableName, held: Collection[int] = ()) -> None:
    """As upkeep does a month later."""
    store = open_store(chain.settings, chain.settings.warehouse)
    chain.lake.table(name).expire_snapshots(store, now=datetime.now(UTC) + timedelta(days=30), held=held)
