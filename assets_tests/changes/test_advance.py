"""How far a build brings a reader: what it computed, what it read, and what it leaves to be done."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from lakehouse.changes import Consumed, advanced, consumed, consumed_from, edges_of, position_of, scope_of
from lakehouse.errors import Fenced
from lakehouse.iceberg import connect, register
from lakehouse.tables import Follow, Reach, TableName, Window

Chain = Any
SILVER, GOLD = TableName.parse("silver.orders"), TableName.parse("gold.orders")
BRONZE, PAID = TableName.parse("bronze.orders"), TableName.parse("silver.payments")


def head(chain: Chain, name: TableName) -> Any:  # noqa: ANN401  (SnapshotInfo, or None)
    return chain.lake.table(name).snapshot()


def test_the_first_build_leaves_nothing_to_be_done(chain: Chain) -> None:
    """What was never built is missing, not out of date."""
    chain.orders((1, 1, 1), (2, 2, 2), (3, 3, 3))

    chain.build("silver.orders", 2)

    at = head(chain, BRONZE)
    assert consumed(chain.lake, SILVER) == {BRONZE: Consumed(at.sequence_number, at.id)}
    assert chain.stale() == {}


def test_what_changed_and_was_not_computed_stays_pending_with_the_number_of_its_change(built: Chain) -> None:
    built.orders((2, 2, 22), (3, 3, 33))
    second = head(built, BRONZE).sequence_number
    built.orders((5, 5, 55))

    built.build("silver.orders", 3)

    at = head(built, BRONZE)
    pending = {date(2026, 1, 2): second, date(2026, 1, 5): at.sequence_number}
    assert consumed(built.lake, SILVER)[BRONZE] == Consumed(at.sequence_number, at.id, pending)
    assert built.stale()["silver.orders"] == [2, 5]


def test_days_that_stay_pending_are_carried_on_until_they_are_computed(built: Chain) -> None:
    built.orders((2, 2, 22), (5, 5, 55))
    built.build("silver.orders", 9)
    assert built.pending("silver.orders", "bronze.orders") == [2, 5]

    built.orders((7, 7, 77))
    built.build("silver.orders", 5)
    assert built.pending("silver.orders", "bronze.orders") == [2, 7]

    built.build("silver.orders", 1, 10)
    assert built.pending("silver.orders", "bronze.orders") == []


def test_a_build_of_all_days_leaves_nothing(built: Chain) -> None:
    built.orders((2, 2, 22), (5, 5, 55))
    built.build("silver.orders", 9)

    built.build("silver.orders")

    assert built.pending("silver.orders", "bronze.orders") == []
    assert built.stale() == {"gold.orders": list(range(1, 11))}


def test_the_snapshot_that_was_read_counts_and_not_the_head(built: Chain) -> None:
    seen = head(built, BRONZE)
    edges = edges_of(built.declarations[SILVER], built.parents[SILVER], built.declarations)
    built.orders((4, 4, 44))
    with connect(built.settings) as connection:
        register(connection, built.lake)
        window = Window.of_days(built.lake.table(SILVER).days()[0], built.lake.table(SILVER).days()[-1])
        progress, _ = advanced(built.lake, connection, edges, window=window, read={BRONZE: seen.id})

    assert consumed_from(progress[scope_of(BRONZE)]) == Consumed(seen.sequence_number, seen.id)


def test_a_slow_build_does_not_hide_what_a_faster_one_has_seen(built: Chain) -> None:
    """It computed days 3 and 4 from what was there before rows of days 4 and 6 came; the other one knows of them."""
    seen = head(built, BRONZE)
    built.orders((4, 4, 44), (6, 6, 66))
    built.build("silver.orders", 4, 6)

    built.build("silver.orders", 3, 4, read={BRONZE: seen.id})

    at = head(built, BRONZE)
    state = consumed(built.lake, SILVER)[BRONZE]
    assert (state.sequence, state.snapshot_id) == (at.sequence_number, at.id)
    assert built.pending("silver.orders", "bronze.orders") == [4]


def test_several_windows_become_visible_at_once(built: Chain) -> None:
    """As when days between them are held back: those stay pending if something had changed in them."""
    built.orders((2, 2, 22), (3, 3, 33), (5, 5, 55))
    edges = edges_of(built.declarations[SILVER], built.parents[SILVER], built.declarations)
    days = built.lake.table(SILVER).days()
    with connect(built.settings) as connection:
        register(connection, built.lake)
        windows = [Window.of_days(days[0], days[1]), Window.of_days(days[3], days[9])]
        read = {BRONZE: head(built, BRONZE).id}
        progress, expected = advanced(built.lake, connection, edges, window=windows, read=read)

    assert sorted(consumed_from(progress[scope_of(BRONZE)]).pending) == [days[2]]
    assert expected[scope_of(BRONZE)] == position_of(consumed(built.lake, SILVER)[BRONZE])


def test_a_parent_of_the_same_run_is_followed_as_the_branch_has_it(built: Chain) -> None:
    """A payment of an order that only the branch knows: its day is found there."""
    built.orders((77, 7, 7))
    built.payments((9, 77, 70))
    built.build("silver.payments", branch="run")
    built.build("silver.orders", 7, branch="run", at="run")

    built.build("gold.orders", 3, branch="run", at="run")

    assert built.pending("gold.orders", "silver.payments", "run") == [7]
    assert built.pending("gold.orders", "silver.orders", "run") == [7]
    branch_head = built.lake.table(SILVER).snapshot("run").id
    assert consumed(built.lake, GOLD, "run")[SILVER].snapshot_id == branch_head
    assert consumed(built.lake, GOLD)[SILVER].snapshot_id != branch_head


def test_two_builds_of_one_state_do_not_both_pass(built: Chain) -> None:
    edges = edges_of(built.declarations[SILVER], built.parents[SILVER], built.declarations)
    built.orders((2, 2, 22))
    with connect(built.settings) as connection:
        register(connection, built.lake)
        progress, expected = advanced(built.lake, connection, edges, window=None, read={BRONZE: head(built, BRONZE).id})
    built.build("silver.orders", 5)

    with pytest.raises(Fenced):
        built.lake.table(SILVER).append(
            built.lake.table(SILVER).scan(), run_key="slow", progress=progress, expected_progress=expected
        )


def test_a_table_that_does_not_say_how_far_it_is_has_every_other_day_to_do(built: Chain) -> None:
    """One that a release before this one built."""
    built.lake.drop(SILVER)
    built.build("silver.orders", progress=False)
    assert built.stale()["silver.orders"] == list(range(1, 11))

    built.build("silver.orders", 4, 5)

    assert built.stale()["silver.orders"] == [1, 2, 3, 6, 7, 8, 9, 10]
    assert built.pending("silver.orders", "bronze.orders") == [1, 2, 3, 6, 7, 8, 9, 10]


def test_a_new_upstream_of_a_model_has_reached_no_day(built: Chain) -> None:
    built.parents[SILVER] |= {PAID}

    found = built.causes()["silver.orders"]

    assert [day.day for day in found.days] == list(range(1, 11))
    assert {cause.upstream for causes in found.days.values() for cause in causes} == {PAID}
    built.build("silver.orders")
    assert "silver.orders" not in built.stale()


def test_an_upstream_that_the_sql_does_not_read_is_followed_all_the_same(built: Chain) -> None:
    """As with a model that mentions a table in a condition: else its days were out of date for ever."""
    built.parents[SILVER] |= {PAID}
    built.tables[2] = replace(built.tables[2], follows=(Follow(PAID, Reach.EVERY),))
    built.build("silver.orders")

    assert consumed(built.lake, SILVER)[PAID].snapshot_id == head(built, PAID).id
    assert "silver.orders" not in built.stale()


def test_an_upstream_without_rows_is_followed_from_nothing(built: Chain) -> None:
    empty = replace(built.tables[0], name=TableName.parse("bronze.returns"))
    built.tables.append(empty)
    built.lake.create(empty)
    built.parents[SILVER] |= {empty.name}
    built.build("silver.orders")
    assert consumed(built.lake, SILVER)[empty.name] == Consumed(0, 0)
    assert "silver.orders" not in built.stale()

    built.load("bronze.returns", [{"order_id": 3, "day": built.lake.table(SILVER).days()[2], "n": 0}])
    assert built.stale()["silver.orders"] == [3]
    built.build("silver.orders", 3)
    assert "silver.orders" not in built.stale()


def test_what_reaches_no_day_is_not_followed(built: Chain) -> None:
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.NONE),))
    built.lake.drop(GOLD)
    built.build("gold.orders")

    assert set(consumed(built.lake, GOLD)) == {SILVER}
    built.payments((9, 3, 1))
    built.build("silver.payments")
    assert built.stale() == {}


def test_a_first_build_that_was_held_back_is_none(chain: Chain) -> None:
    """Its branch gave main a snapshot without rows; the next build is the first one still."""
    chain.orders((1, 1, 1), (2, 2, 2))
    chain.build("silver.orders", 1, branch="held")
    assert head(chain, SILVER) is not None
    assert chain.stale() == {}

    chain.build("silver.orders", 2)

    assert chain.pending("silver.orders", "bronze.orders") == []
    assert chain.stale() == {}
