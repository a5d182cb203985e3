"""Whatever happens to the tables that a model by key reads, a build that sees all of it leaves what a whole one would.

Two processes build the same table, and each sees the lake as of when it last looked.
"""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import count

import pytest

from assets_tests.transform.by_key import EVENTS, JOINED, KINDS, World
from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg import Lake, connect
from lakehouse.settings import Settings

STEPS = 14
ACTS = ("happen", "happen", "kinds", "look", "stale", "stale", "build", "compact", "expire", "restore")


def step(act: str, world: World, dice: random.Random) -> None:
    """One thing that happens, or a build of this process."""
    if act == "happen":
        events = [
            (dice.randint(1, 5), dice.choice(["a", "b", None]), dice.randint(1, 1000), dice.random() < 0.2)
            for _ in range(dice.randint(1, 3))
        ]
        # Of two events of a thing at one moment either may be the latest.
        world.happen(
            *{(thing, tick): (thing, kind, 1000 * thing + tick, gone) for thing, kind, tick, gone in events}.values()
        )
    elif act == "kinds":
        factors = dice.sample(["a", "b", "c"], k=dice.randint(1, 3))
        world.put(KINDS, [(kind, dice.randint(2, 5)) for kind in factors])
    elif act == "look":
        world.look()
    elif act == "stale":
        # What it looked at may be gone for good: then a run fails, and the next one looks anew.
        with suppress(SnapshotMissing):
            world.build(look=False)
    elif act == "compact":
        world.compact(EVENTS)
    elif act == "expire":
        world.expire(dice.choice([EVENTS, KINDS]))
    elif act == "restore":
        stored = world.lake.table(KINDS.name)
        past = stored.snapshots()[1:2]
        if past:
            stored.restore(stored.plan_restore(to=past[0].id))
    else:
        world.build()
        assert world.rows() == world.wanted()


@pytest.mark.parametrize("seed", range(6))
def test_a_build_that_sees_everything_leaves_what_a_whole_one_would(settings: Settings, seed: int) -> None:
    dice, keys = random.Random(seed), count()  # noqa: S311  (repeatable)
    with connect(settings) as one, connect(settings) as two:
        worlds = [World(settings, Lake.open(settings), duck, sql=JOINED, keys=keys) for duck in (one, two)]
        for world in worlds:
            step("happen", world, dice)
            step("kinds", world, dice)
            world.look()
        worlds[0].look()
        acts = [dice.choice(ACTS) for _ in range(STEPS)]
        for act in acts:
            step(act, dice.choice(worlds), dice)
        for world in worlds:
            step("build", world, dice)
            assert world.build().operation == "none", acts
