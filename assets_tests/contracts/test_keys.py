"""`merge`: by which columns rows enter a table, for the strategies `merge` and `delete+insert`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.contracts.mistakes import find_mistakes
from lakehouse.errors import ContractError
from lakehouse.tables import MergePolicy, Strategy, Table

Declare = Callable[..., Table]
ID = {"name": "order_id", "logicalType": "integer", "primaryKey": True}
LINE = {"name": "line_no", "logicalType": "integer", "required": True}
CHANGED = {"name": "updated_at", "logicalType": "timestamp", "required": True}
SEEN = {"name": "seen_at", "logicalType": "timestamp"}
SCORE = {"name": "score", "logicalType": "number", "required": True}
PRICE = {"name": "price", "physicalType": "float", "required": True}
DAY = {"name": "day", "logicalType": "date", "required": True}
COLUMNS = [ID, LINE, CHANGED, SEEN, SCORE, PRICE, DAY]


@pytest.fixture(scope="module")
def state(declare: Declare) -> Callable[..., Table]:
    """state(strategy, {...}): a table of that strategy, with what its `merge` says, if anything."""

    def stated(strategy: str, merge: object = None, *, more: Mapping[str, object] | None = None) -> Table:
        stating = {} if merge is None else {"merge": merge}
        return declare(COLUMNS, custom={"strategy": strategy, **stating, **(more or {})}, name="silver.orders")

    return stated


@pytest.mark.parametrize("strategy", ["merge", "delete+insert"])
@pytest.mark.parametrize("merge", [None, {}])
def test_rows_enter_by_the_primary_key(state: Callable[..., Table], strategy: str, merge: object) -> None:
    table = state(strategy, merge)

    assert (table.strategy, table.merge, table.history) == (Strategy(strategy), MergePolicy(("order_id",)), None)


def test_all_that_a_merge_may_say(state: Callable[..., Table]) -> None:
    said = {"key": ["order_id"], "sequence": "updated_at", "deleted": "is_deleted", "lateDays": 7}

    assert state("merge", said).merge == MergePolicy(("order_id",), "updated_at", "is_deleted", timedelta(days=7))


def test_days_that_deleted_keys_are_remembered_for(state: Callable[..., Table]) -> None:
    said = {"sequence": "updated_at", "deleted": "is_deleted"}

    late = [state("merge", {**said, **days}).merge for days in ({}, {"lateDays": 0}, {"lateDays": 36_500})]

    assert [policy.late.days for policy in late if policy] == [30, 0, 36_500]


def test_null_is_what_is_not_stated(state: Callable[..., Table]) -> None:
    assert state("merge", {"sequence": None, "deleted": None}).merge == MergePolicy(("order_id",))


def test_parts_enter_with_their_whole(declare: Declare) -> None:
    lines = [ID, {**LINE, "primaryKey": True}]
    table = declare(lines, custom={"strategy": "delete+insert", "merge": {"key": ["order_id"]}})

    assert (table.primary_key, table.merge) == (("order_id", "line_no"), MergePolicy(("order_id",)))


def test_the_key_of_a_merge_may_have_another_order(declare: Declare) -> None:
    lines = [ID, {**LINE, "primaryKey": True}]
    table = declare(lines, custom={"strategy": "merge", "merge": {"key": ["line_no", "order_id"]}})

    assert table.merge == MergePolicy(("line_no", "order_id"))


@pytest.mark.parametrize("strategy", ["replace", "append"])
def test_other_strategies_have_no_policy(state: Callable[..., Table], strategy: str) -> None:
    table = state(strategy)

    assert (table.merge, table.history) == (None, None)


def test_rows_that_enter_by_key_may_be_partitioned_by_day(state: Callable[..., Table]) -> None:
    table = state("merge", more={"partition": ["day(day)"]})

    assert [(field.column, field.transform) for field in table.partition_by] == [("day", "day")]
    assert not table.windowed


# Strategy, what `merge` says, the place below its value, and words of the message.
BAD: Mapping[str, tuple[str, object, str, list[str]]] = {
    "no mapping": ("merge", ["order_id"], "", ["merge is a mapping", "['order_id']"]),
    "unknown key": ("merge", {"sequenze": "updated_at"}, ".sequenze", ["unknown key of merge", "'sequence'"]),
    "key no list": ("merge", {"key": "order_id"}, ".key", ["key is a list of columns", "'order_id'"]),
    "key of nothing": ("delete+insert", {"key": []}, ".key", ["key is a list of columns", "leave it out"]),
    "key of numbers": ("delete+insert", {"key": [1]}, ".key", ["key is a list of columns"]),
    "key without a value": ("delete+insert", {"key": None}, ".key", ["key is a list of columns"]),
    "key unknown": ("delete+insert", {"key": ["day", "order_idd"]}, ".key[1]", ["'order_idd'", "mean 'order_id'"]),
    "key twice": ("delete+insert", {"key": ["day", "day"]}, ".key[1]", ["day is listed twice"]),
    "key optional": ("delete+insert", {"key": ["seen_at"]}, ".key[0]", ["seen_at", "found an optional timestamptz"]),
    "key double": ("delete+insert", {"key": ["day", "score"]}, ".key[1]", ["score", "found a required double"]),
    "key float": ("delete+insert", {"key": ["price"]}, ".key[0]", ["neither float nor double", "a required float"]),
    "another key": ("merge", {"key": ["line_no"]}, ".key", ["expected order_id; found line_no", "delete+insert"]),
    "a larger key": ("merge", {"key": ["order_id", "line_no"]}, ".key", ["than the primary key"]),
    "sequence unknown": ("merge", {"sequence": "updated"}, ".sequence", ["'updated'", "mean 'updated_at'"]),
    "sequences": ("merge", {"sequence": ["updated_at"]}, ".sequence", ["unknown column"]),
    "sequence optional": ("merge", {"sequence": "seen_at"}, ".sequence", ["seen_at cannot be", "an optional"]),
    "sequence double": ("merge", {"sequence": "score"}, ".sequence", ["score cannot be", "required double"]),
    "sequence in the key": ("merge", {"sequence": "order_id"}, ".sequence", ["nor in the key", "required long"]),
    "marker a column": ("merge", {"deleted": "seen_at"}, ".deleted", ["seen_at is a column of the table"]),
    "marker a column to DuckDB": ("merge", {"deleted": "Seen_At"}, ".deleted", ["Seen_At is a column of the table"]),
    "marker no name": ("merge", {"deleted": True}, ".deleted", ["deleted names a column", "True"]),
    "marker empty": ("merge", {"deleted": ""}, ".deleted", ["deleted names a column"]),
    "negative days": ("merge", {"lateDays": -1}, ".lateDays", ["a whole number from 0 to 36500", "-1"]),
    "too many days": ("merge", {"lateDays": 36_501}, ".lateDays", ["a whole number"]),
    "days in text": ("merge", {"lateDays": "30"}, ".lateDays", ["a whole number", "'30'"]),
    "half a day": ("merge", {"lateDays": 0.5}, ".lateDays", ["a whole number"]),
    "days in truth": ("merge", {"lateDays": True}, ".lateDays", ["a whole number", "True"]),
    "days without a sequence": ("merge", {"deleted": "gone", "lateDays": 3}, ".lateDays", ["no effect", "`sequence`"]),
    "days without a marker": ("merge", {"sequence": "day", "lateDays": 3}, ".lateDays", ["no effect", "`deleted`"]),
    "sequence of wholes": ("delete+insert", {"sequence": "updated_at"}, ".sequence", ["sequence with", "key alone"]),
    "deleted wholes": ("delete+insert", {"key": ["order_id"], "deleted": "gone"}, ".deleted", ["strategy: merge"]),
    "late wholes": ("delete+insert", {"lateDays": 30}, ".lateDays", ["lateDays with the strategy delete+insert"]),
    "replaced": ("replace", {"sequence": "updated_at"}, "", ["merge with the strategy replace", "strategy: merge"]),
    "appended": ("append", {}, "", ["merge with the strategy append"]),
    "versions": ("scd2", {}, "", ["merge with the strategy scd2", "expected the strategy merge or delete+insert"]),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_mistakes_say_where_and_what_to_do(state: Callable[..., Table], bad: str) -> None:
    strategy, merge, where, words = BAD[bad]

    with pytest.raises(ContractError) as caught:
        state(strategy, merge)

    error = str(caught.value)
    assert "orders.yaml:" in error
    assert f": customProperties[1].value{where}: " in error
    assert caught.value.remedy
    for word in words:
        assert word in error


def test_a_policy_without_a_strategy_is_that_of_a_table_that_is_replaced(declare: Declare) -> None:
    with pytest.raises(
        ContractError, match=r"merge with the strategy replace.*add the customProperty `strategy: merge`"
    ):
        declare([ID], custom={"merge": {"key": ["order_id"]}})


@pytest.mark.parametrize("strategy", ["merge", "delete+insert"])
def test_a_primary_key_that_rows_are_not_told_apart_by(declare: Declare, strategy: str) -> None:
    with pytest.raises(ContractError, match=r"customProperties\[0\].*not told apart by score") as caught:
        declare([{**SCORE, "primaryKey": True}], custom={"strategy": strategy})
    assert "a required double" in str(caught.value)


@pytest.mark.parametrize("strategy", ["merge", "delete+insert", "scd2"])
def test_a_daily_table_replaces_its_days(state: Callable[..., Table], strategy: str) -> None:
    with pytest.raises(ContractError) as caught:
        state(strategy, more={"window": {"column": "day", "start": "2026-01-01"}})

    assert f"customProperties[0].value: {strategy} on a windowed table" in caught.value.what
    assert caught.value.expected == "strategy: overwrite, or no window"
    assert "`partition: [day(day)]`" in caught.value.remedy


@pytest.mark.parametrize("name", ["merge", "history"])
def test_bronze_is_appended_to(declare: Declare, name: str) -> None:
    load = {"source": "shop", "table": "orders"}
    with pytest.raises(ContractError, match=rf"customProperties\[1\].*{name} on a bronze table"):
        declare([ID], custom={"load": load, name: {"key": ["order_id"]}}, name="bronze.orders")


def test_the_mistake_stands_on_its_line(declare: Declare, tmp_path: Path) -> None:
    with pytest.raises(ContractError):
        declare(COLUMNS, custom={"strategy": "merge", "merge": {"sequence": "seen_at"}}, folder=tmp_path)

    (mistake,) = find_mistakes([tmp_path])
    line = mistake.file.read_text("utf-8").splitlines()[mistake.line - 1]
    assert (mistake.path, line.strip()) == ("customProperties[1].value.sequence", '"sequence": "seen_at"')


@settings(deadline=None, max_examples=30)
@given(
    key=st.permutations(["order_id", "line_no", "day"]),
    sequence=st.sampled_from([None, "updated_at"]),
    deleted=st.sampled_from([None, "is_deleted", "gone", "Änderung"]),
    late=st.one_of(st.none(), st.integers(0, 36_500)),
)
def test_a_policy_is_what_is_stated(
    declare: Declare, key: list[str], sequence: str | None, deleted: str | None, late: int | None
) -> None:
    columns: list[dict[str, Any]] = [{**one, "primaryKey": one["name"] in key} for one in COLUMNS]
    stated = {"key": key, "sequence": sequence, "deleted": deleted}
    known = sequence is not None and deleted is not None
    if late is not None and known:
        stated["lateDays"] = late

    table = declare(columns, custom={"strategy": "merge", "merge": stated})

    days = late if late is not None and known else 30
    assert table.merge == MergePolicy(tuple(key), sequence, deleted, timedelta(days=days))
