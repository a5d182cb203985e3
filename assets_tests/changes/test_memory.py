"""What is remembered between two questions: it saves time, and changes no answer but the numbers of causes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.changes import Consumed, Memory, consumed_from, position_of
from lakehouse.storage.open import open_store
from lakehouse.tables import Follow, Reach, TableName

Chain = Any
BRONZE, PAID = TableName.parse("bronze.orders"), TableName.parse("silver.payments")
DAYS = st.dictionaries(st.dates(date(2026, 1, 1), date(2026, 2, 28)), st.integers(1, 4), max_size=40)


@given(DAYS, st.integers(0, 9), st.integers(0, 2**63 - 1))
def test_a_position_says_all_of_what_was_followed(days: dict[date, int], sequence: int, snapshot_id: int) -> None:
    state = Consumed(sequence, snapshot_id, days)

    assert consumed_from(json.loads(json.dumps(position_of(state)))) == state


def test_a_position_is_as_it_is_documented() -> None:
    days = {date(2026, 1, number): 7 for number in (3, 4, 9)} | {date(2026, 1, 5): 8}

    assert position_of(Consumed(9, 123, days)) == {
        "sequence": 9,
        "snapshot": 123,
        "pending": [["2026-01-03", "2026-01-05", 7], ["2026-01-05", "2026-01-06", 8], ["2026-01-09", "2026-01-10", 7]],
    }


def copied(memory: Memory) -> Memory:
    """As it comes back from a cursor."""
    return Memory.from_json(json.loads(json.dumps(memory.to_json())))


@pytest.mark.parametrize("told", [None, [], "x", {"a": 1}, {"seen": {"a": 1}, "days": {}}, {"seen": {}, "days": [1]}])
def test_what_is_no_memory_is_an_empty_one(told: object) -> None:
    assert Memory.from_json(told).to_json() == Memory().to_json()


def test_it_comes_back_from_json_as_it_was(built: Chain) -> None:
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    built.orders((3, 3, 33), (7, 7, 77))
    built.payments((9, 1, 1))
    built.build("silver.payments")
    memory = Memory()
    built.stale(memory)
    told = memory.to_json()

    assert "silver.orders <- bronze.orders" in json.dumps(told)
    assert "gold.orders" in json.dumps(told["days"])
    assert copied(memory).to_json() == told


def test_answers_are_the_same_with_and_without(built: Chain) -> None:
    memory = Memory()
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    steps: list[Callable[[], object]] = [
        lambda: built.orders((3, 3, 33), (12, 12, 12)),
        lambda: built.build("silver.orders", 3),
        lambda: (built.payments((9, 5, 1)), built.build("silver.payments")),
        lambda: built.build("gold.orders", 4, 6),
        lambda: built.orders((3, 3, 34)),
        lambda: built.build("silver.orders", 12),
        lambda: built.build("silver.orders", 3),
        lambda: built.build("gold.orders", 1, 12),
    ]
    seen = []
    for step in steps:
        step()
        seen.append(built.stale())
        memory = copied(memory)
        assert built.stale(memory) == seen[-1]
    assert seen[-1] == {}
    assert len({str(one) for one in seen}) > 4


def test_a_change_by_key_keeps_its_number_when_other_keys_change(built: Chain) -> None:
    """Else a day that cannot be computed would be asked for anew with each payment of another day."""
    memory = Memory()
    built.payments((8, 4, 1))
    built.build("silver.payments")
    (first,) = built.causes(memory)["gold.orders"].days.values()

    built.payments((9, 6, 1))
    built.build("silver.payments")

    days = built.causes(copied(memory))["gold.orders"].days
    assert [day.day for day in days] == [4, 6]
    assert days[date(2026, 1, 4)] == first
    assert days[date(2026, 1, 6)][0].sequence > first[0].sequence


def test_every_day_keeps_its_number_while_it_is_the_same_change(built: Chain) -> None:
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    memory = Memory()
    built.payments((8, 4, 1))
    built.build("silver.payments")
    first = built.causes(memory)["gold.orders"].days

    table = built.lake.table(PAID)
    table.replace_files([file.path for file in table.live_files()], table.scan(), run_key="compacted")

    assert built.causes(copied(memory))["gold.orders"].days == first


def test_what_was_seen_last_may_expire(built: Chain) -> None:
    memory = Memory()
    built.payments((8, 4, 1))
    built.build("silver.payments")
    built.stale(memory)
    followed = built.lake.table(PAID).snapshots()[1].id
    built.payments((9, 6, 1))
    built.build("silver.payments")
    built.lake.table(PAID).expire_snapshots(
        open_store(built.settings, built.settings.warehouse),
        now=datetime.now(UTC) + timedelta(days=30),
        held=[followed],
    )

    assert built.stale(memory) == built.stale()
    assert 6 in built.stale(memory)["gold.orders"]


def test_what_is_stated_anew_is_looked_up_anew(built: Chain) -> None:
    memory = Memory()
    built.payments((8, 4, 1))
    built.build("silver.payments")
    assert built.stale(memory) == {"gold.orders": [4]}

    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.NONE),))
    assert built.stale(memory) == {}
    built.tables[4] = replace(built.tables[4], follows=(Follow(PAID, Reach.EVERY),))
    assert built.stale(memory) == {"gold.orders": list(range(1, 11))}


def test_tables_that_are_gone_are_forgotten(built: Chain) -> None:
    memory = Memory()
    built.orders((3, 3, 33))
    built.stale(memory)
    assert memory.to_json()["seen"]

    built.parents.clear()
    built.stale(memory)

    assert memory.to_json() == Memory().to_json()
