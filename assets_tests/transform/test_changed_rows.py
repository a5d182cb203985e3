"""A model by key reads what changed since its table was last built, and everything where that cannot be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from assets_tests.transform.by_key import EVENTS, JOINED, KINDS, LATEST, SQL, THINGS, World, in_changes
from lakehouse.changes import consumed
from lakehouse.errors import TransformError
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import Settings
from lakehouse.tables import Column, Strategy
from lakehouse.transform.write import save_view

FIRST = ((1, "a", 1, False), (2, "a", 1, False), (3, "b", 1, False))


@pytest.fixture
def world(settings: Settings, lake: Lake) -> Iterator[World]:
    with connect(settings) as duck:
        world = World(settings, lake, duck)
        world.happen(*FIRST)
        world.build()
        yield world


def test_the_first_build_computes_everything(world: World) -> None:
    assert world.rows() == [(1, "a", 1), (2, "a", 1), (3, "b", 1)]
    assert world.came() == 3


def test_only_touched_keys_are_computed_each_with_all_its_rows(world: World) -> None:
    world.happen((2, "b", 5, False), (4, "c", 5, False), (3, "x", 0, False))

    world.build()

    assert world.came() == 3  # the third is touched, by an event older than what is known
    assert world.rows() == [(1, "a", 1), (2, "b", 5), (3, "b", 1), (4, "c", 5)] == world.wanted()


def test_rows_that_went_touch_their_key_too(world: World) -> None:
    world.happen((1, "b", 9, False))
    world.build()
    world.lake.table(EVENTS.name).delete("tick = 9", run_key="taken back")

    world.build()

    assert (world.came(), world.rows()) == (1, world.wanted())


def test_a_key_that_is_gone_goes_and_may_come_again(world: World) -> None:
    world.happen((1, None, 2, True), (2, None, 2, None))
    world.build()
    assert world.rows() == [(2, None, 2), (3, "b", 1)]

    world.happen((1, "z", 3, False))
    world.build()
    assert world.rows() == world.wanted() == [(1, "z", 3), (2, None, 2), (3, "b", 1)]


def test_nothing_new_is_no_commit(world: World) -> None:
    before = world.head()

    assert world.build().operation == "none"
    assert world.head() == before


def test_the_position_moves_with_a_compaction_and_no_row_is_computed(world: World) -> None:
    world.happen((4, "a", 1, False))
    world.build()
    world.compact(EVENTS)

    commit = world.build()

    assert (commit.rows_added, commit.rows_removed, world.came()) == (0, 0, 0)
    assert consumed(world.lake, THINGS.name)[EVENTS.name].snapshot_id == world.head(EVENTS)
    assert world.build().operation == "none"


@pytest.mark.parametrize("what", ["SQL", "type", "key", "strategy"])
def test_what_computes_the_rows_has_changed_so_all_are_computed(world: World, what: str) -> None:
    if what == "SQL":
        world.sql = SQL.replace("tick as worth", "tick + 100 as worth")
    elif what == "type":
        world.declared = replace(THINGS, columns=(*THINGS.columns[:2], Column("worth", "long"), Column("n", "int")))
        world.sql = SQL.replace("gone", "gone, 7 as n", 1)
    elif what == "key":
        assert THINGS.merge
        world.declared = replace(THINGS, merge=replace(THINGS.merge, sequence="worth"))
    else:
        assert THINGS.merge
        policy = replace(THINGS.merge, deleted=None)
        world.declared = replace(THINGS, strategy=Strategy.DELETE_INSERT, merge=policy)
        world.sql = SQL.replace(", gone", "")

    world.build()

    assert world.came() == 3
    assert world.build().operation == "none"


def test_how_long_deleted_keys_are_remembered_changes_no_row(world: World) -> None:
    assert THINGS.merge
    world.declared = replace(THINGS, merge=replace(THINGS.merge, late=2 * THINGS.merge.late))
    assert world.build().operation == "none"


def test_a_view_that_is_read_has_changed_so_all_rows_are_computed(world: World) -> None:
    save_view(world.lake, world.duck, "staging", "below", "select * from silver.events")
    save_view(world.lake, world.duck, "staging", "above", "select * from staging.below")
    world.sql = SQL.replace("silver.events where", "staging.above where")
    world.build()
    assert world.build().operation == "none"

    save_view(world.lake, world.duck, "staging", "below", "select * replace (tick + 50 as tick) from silver.events")
    save_view(world.lake, world.duck, "staging", "other", "select 1 as x")
    world.build()

    assert world.rows() == [(1, "a", 51), (2, "a", 51), (3, "b", 51)]


def test_an_earlier_sql_that_comes_back_does_not_take_the_tables_it_reads_for_followed(world: World) -> None:
    world.sql = "select 1 as thing, 'other' as kind, 0 as worth, false as gone"
    world.build()
    assert (1, "other", 0) in world.rows()
    world.sql = SQL

    world.build()

    assert world.rows() == world.wanted()


def test_a_snapshot_that_has_expired_means_everything(world: World) -> None:
    for number in range(3):
        world.happen((1, "a", 10 + number, False))
    world.expire(EVENTS)

    world.build()

    assert (world.came(), world.rows()) == (3, world.wanted())


def test_a_compaction_that_outlived_what_was_followed_is_no_change(world: World) -> None:
    world.compact(EVENTS)
    world.expire(EVENTS)

    commit = world.build()

    assert (commit.rows_added, commit.rows_removed, world.came()) == (0, 0, 0)
    world.happen((1, "a", 10, False))
    world.compact(EVENTS)
    world.expire(EVENTS)
    world.build()
    assert (world.came(), world.rows()) == (3, world.wanted())


def test_a_table_that_was_restored_means_everything(world: World) -> None:
    world.happen((1, "b", 9, False), (2, "b", 9, False))
    world.build()
    stored = world.lake.table(EVENTS.name)
    stored.restore(stored.plan_restore(to=stored.snapshots()[1].id))

    world.build()

    assert (world.came(), world.rows()) == (3, world.wanted())


def test_a_table_that_was_empty_when_it_was_followed(settings: Settings, lake: Lake) -> None:
    lake.create(EVENTS)
    with connect(settings) as duck:
        world = World(settings, lake, duck)
        world.build()
        assert world.build().operation == "none"
        world.happen(*FIRST)

        world.build()

        assert world.rows() == world.wanted() != []


def test_a_table_that_is_read_and_not_asked_about_is_followed_in_one_commit(world: World) -> None:
    world.put(KINDS, [("a", 10)])
    world.sql = JOINED.replace(f" or {in_changes('silver.kinds', 'kind')}", "")
    world.build()
    world.put(KINDS, [("a", 20)])

    world.build()

    assert world.came() == 0
    assert consumed(world.lake, THINGS.name)[KINDS.name].snapshot_id == world.head(KINDS)
    assert world.build().operation == "none"


def test_null_is_a_key_as_others(world: World) -> None:
    world.sql = JOINED
    world.put(KINDS, [("a", 10), ("b", 100)])
    world.happen((5, None, 7, False))
    world.build()
    world.put(KINDS, [("a", 10), ("b", 100), (None, 3)])

    world.build()

    assert world.came() == 1  # it is computed, and joins nothing
    assert world.rows() == world.wanted()


def test_a_column_that_the_table_does_not_have_is_named_at_the_first_build(world: World) -> None:
    world.sql = LATEST.format(changed=in_changes("silver.events", "thing").replace("by thing", "by think"))
    with pytest.raises(
        TransformError, match=r"(?s)gold\.things asks for changes of silver\.events by think.*in_changes"
    ):
        world.build()
    assert len(world.rows()) == 3


def test_on_a_branch_the_table_follows_from_where_main_is(world: World) -> None:
    world.happen((2, "b", 5, False))
    before = world.rows()

    world.build(branch="run/1")
    world.happen((1, "c", 6, False))
    world.build(branch="run/1")

    assert (world.came("run/1"), world.rows()) == (1, before)
    world.lake.table(THINGS.name).publish("run/1")
    assert world.rows() == world.wanted()
    assert world.build().operation == "none"


def test_a_build_that_saw_less_than_the_one_before_changes_nothing(world: World) -> None:
    world.look()
    with connect(world.settings) as duck:
        other = World(world.settings, world.lake, duck, keys=world.keys)
        world.happen((1, "b", 9, False))
        other.build()
    before = world.head()

    commit = world.build(look=False)

    assert (commit.operation, world.head(), world.rows()) == ("none", before, world.wanted())


def test_keys_computed_from_less_than_another_build_saw_are_computed_again(world: World) -> None:
    """This one saw the kinds change; the other, faster one, an event of the same thing."""
    world.sql = JOINED
    world.put(KINDS, [("a", 10), ("b", 100)])
    world.build()
    world.put(KINDS, [("a", 20), ("b", 100)])
    world.look()
    kinds = world.head(KINDS)
    with connect(world.settings) as duck:
        other = World(world.settings, world.lake, duck, sql=JOINED, keys=world.keys)
        world.happen((1, "a", 9, False), (3, "b", 9, False))
        other.look()
        # It began before the kinds changed, and looked at the events after.
        stale = world.lake.table(KINDS.name)
        duck.execute(f"create or replace view silver.kinds as from {stale.relation_sql(stale.snapshots()[1].id)}")
        other.build(look=False)
    assert world.rows() == [(1, "a", 90), (2, "a", 10), (3, "b", 900)]

    world.build(look=False)

    assert consumed(world.lake, THINGS.name)[KINDS.name].snapshot_id == kinds
    assert world.rows() == [(1, "a", 20), (2, "a", 20), (3, "b", 900)]
    world.build()
    assert world.rows() == world.wanted() == [(1, "a", 180), (2, "a", 20), (3, "b", 900)]
