"""Rows that enter their table by key, through `write_model`: the strategies merge, delete+insert and scd2."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from itertools import count
from threading import Barrier

import pytest

from assets_tests.transform.by_key import EVENTS, THINGS, World, in_changes, table
from lakehouse.errors import Fenced, SchemaMismatch, TransformError
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import Settings
from lakehouse.tables import HistoryPolicy, MergePolicy, Strategy, Table
from lakehouse.tables.types import duckdb_type

SEQUENCED = replace(THINGS, merge=MergePolicy(("thing",), sequence="worth", deleted="gone"))
LINES = table(
    "silver.lines", "thing long!, worth long!", strategy=Strategy.DELETE_INSERT, merge=MergePolicy(("thing",))
)
KNOWN = HistoryPolicy(("thing",), deleted="gone", surrogate="version")
VERSIONS = table(
    "gold.versions",
    "version string!, thing long!, kind string!, valid_from date!, valid_to date, is_current boolean!",
    strategy=Strategy.SCD2,
    history=KNOWN,
)
TOLD = "select 1 as thing, {} as kind, date '2026-01-{:02}' as valid_from, {} as gone"


@pytest.fixture
def world(settings: Settings, lake: Lake) -> Iterator[World]:
    with connect(settings) as duck:
        yield World(settings, lake, duck)


def build(world: World, declared: Table, *sql: str) -> None:
    for one in sql:
        world.declared, world.sql = declared, one
        world.build()


def test_an_older_row_neither_replaces_a_newer_one_nor_brings_back_what_was_deleted(world: World) -> None:
    row = "select 1 as thing, '{0}' as kind, {0} as worth, {1} as gone"

    build(world, SEQUENCED, row.format(5, "false"), row.format(4, "null"))
    assert world.rows() == [(1, "5", 5)]

    build(world, SEQUENCED, row.format(7, "true"), row.format(6, "false"))
    assert world.rows() == []
    soon = replace(SEQUENCED, merge=MergePolicy(("thing",), sequence="worth", deleted="gone", late=timedelta(0)))
    build(world, soon, "select 9 as thing, '' as kind, 1 as worth, true as gone", row.format(6, "false"))
    assert world.rows() == [(1, "6", 6)]


def test_all_rows_of_a_key_are_replaced_by_those_that_come(world: World) -> None:
    build(world, LINES, "select thing, worth from (values (1, 1), (1, 2), (1, 2), (2, 3)) as t(thing, worth)")
    build(world, LINES, "select thing, worth from (values (1, 8), (3, 9), (3, 9)) as t(thing, worth)")

    assert world.rows() == [(1, 8), (2, 3), (3, 9), (3, 9)]


def test_versions_follow_from_all_that_is_told_of_a_key(world: World) -> None:
    told = [TOLD.format("'a'", 1, "false"), TOLD.format("'a'", 3, "false"), TOLD.format("'b'", 5, "false")]
    build(world, VERSIONS, " union all ".join(told))
    january = [None, *(date(2026, 1, day) for day in range(1, 10))]
    assert sorted((row[1:] for row in world.rows()), key=str) == [
        (1, "a", january[1], january[5], False),
        (1, "b", january[5], None, True),
    ]

    build(world, VERSIONS, " union all ".join([told[1], TOLD.format("null", 9, "true")]))
    [(key, *version)] = world.rows()
    assert version == [1, "a", january[3], january[9], False]
    assert key == world.duck.sql("select md5('1|' || epoch_us(date '2026-01-03'))").fetchall()[0][0]


def test_versions_are_added_to_what_is_known_where_not_all_is_told(world: World) -> None:
    some = replace(VERSIONS, history=replace(KNOWN, complete=False, tracked=("kind",)))
    build(world, some, TOLD.format("'a'", 1, "false"), TOLD.format("'b'", 5, "false"), TOLD.format("'c'", 3, "false"))

    assert sorted((row[3].day, row[2]) for row in world.rows() if isinstance(row[3], date)) == [
        (1, "a"),
        (3, "c"),
        (5, "b"),
    ]


def test_a_row_that_deletes_needs_its_key_alone_and_no_other_row_does_without_a_value(world: World) -> None:
    needy = replace(THINGS, columns=table("gold.things", "thing long!, kind string!, worth long!").columns)
    row = "select {} as thing, {} as kind, {} as worth, {} as gone"
    build(world, needy, row.format(1, "'a'", 1, "false"), row.format(1, "null", "null", "true"))
    assert world.rows() == []

    world.sql = f"{row.format(2, 'null', 1, 'null')} union all {row.format(3, 'null', 'null', 'true')}"
    with pytest.raises(SchemaMismatch, match="1 NULL in kind"):
        world.build()
    world.sql = row.format("null", "null", "null", "true")
    with pytest.raises(SchemaMismatch, match="thing"):
        world.build()


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (THINGS, "thing, kind, worth, gone"),
        (LINES, "thing, worth"),
        (VERSIONS, "thing, kind, valid_from, gone"),
        (
            replace(VERSIONS, history=HistoryPolicy(("thing",), current=None)),
            "version, thing, kind, valid_from, is_current",
        ),
    ],
)
def test_the_columns_that_have_to_come_are_named(world: World, declared: Table, expected: str) -> None:
    world.declared, world.sql = declared, "select 1 as one"
    with pytest.raises(SchemaMismatch) as caught:
        world.build()
    assert caught.value.expected == expected
    assert (caught.value.found or "").endswith("and one besides")
    assert not world.lake.exists(declared.name)


def test_sql_that_fails_half_way_changes_nothing(world: World) -> None:
    build(world, THINGS, "select 1 as thing, 'a' as kind, 1 as worth, false as gone")
    before = world.head()
    world.sql = "select n as thing, 'b' as kind, case when n < 400000 then '1' else 'x' end as worth, false as gone"
    world.sql += " from range(500000) as t(n)"

    with pytest.raises(TransformError, match="Could not convert string 'x'"):
        world.build()

    assert (world.head(), world.rows()) == (before, [(1, "a", 1)])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("string", ["'a'", "'ä'"]),
        ("uuid", ["'00000000-0000-0000-0000-000000000001'", "'f0000000-0000-0000-0000-000000000001'"]),
        ("fixed[2]", [r"'\x00\xFF'", "'bb'"]),
        ("decimal(12,2)", ["1.10", "-2.00"]),
        ("timestamptz", ["'2026-01-01 00:00:00.000001+00'", "'1960-01-01 00:00:00+00'"]),
        ("date", ["'2026-01-01'", "'0001-01-01'"]),
        ("double", ["0.1", "'nan'"]),
    ],
)
def test_changes_are_found_by_keys_of_every_type(world: World, kind: str, values: list[str]) -> None:
    source = table("silver.source", f"key {kind}, n long!")
    world.declared = table("gold.target", "key string!, n long!", strategy=Strategy.MERGE, merge=MergePolicy(("key",)))
    changed = in_changes("silver.source", "key", "n")
    world.sql = f"select cast(key as varchar) as key, max(n) as n from silver.source where {changed} group by all"
    keys = [world.duck.execute(f"select cast({value} as {duckdb_type(kind)})").fetchall()[0][0] for value in values]

    for number, key in enumerate(keys):
        world.append(source, [(getattr(key, "bytes", key), number)])
        world.build()

    assert world.came() == 1
    assert sorted(str(row[1]) for row in world.rows()) == ["0", "1"]


def test_two_writers_at_once_leave_what_one_after_the_other_would(settings: Settings, lake: Lake) -> None:
    def work(me: int) -> None:
        with connect(settings) as duck:
            mine = World(settings, Lake.open(settings), duck, keys=count(1000 * me))
            both.wait()
            for step in range(4):
                mine.happen((step, f"{me}", 10 * step + me, False), (10 + me, "mine", step, step == 2))
                while True:
                    try:
                        mine.build()
                    except Fenced:
                        # The other one was faster: what it has followed is followed from now.
                        continue
                    break

    lake.create(EVENTS), lake.create(THINGS)
    both = Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, me) for me in (1, 2)]:
            done.result()

    with connect(settings) as duck:
        world = World(settings, lake, duck, keys=count(9000))
        assert [row[0] for row in world.rows()] == [0, 1, 11, 12, 2, 3]
        assert world.rows() == world.wanted()
        assert world.build().operation == "none"
