"""Twenty shops in which nothing goes wrong: no rule says otherwise, on the first load and on the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from assets_tests.defects.verdict import How, noticed, quarantined
from assets_tests.defects.world import World
from lakehouse.services.postgres import EmbeddedPostgres

pytestmark = pytest.mark.defects

SEEDS = range(101, 121)
SCALES = (0.03, 0.03, 0.05, 0.1)
"""Below, a day has fewer than ten payments, and the one that the provider always has wrong is over the reject limit."""
LIVED = ((1, 1), (2, 2), (3, 4), (6, 1), (9, 5))
"""Days before the first load, and days before the second."""


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("clean"), postgres, seed=0, scale=SCALES[0], name="clean")
    yield made
    made.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shop_in_which_nothing_goes_wrong(world: World, seed: int) -> None:
    world.begin(seed=seed, scale=SCALES[seed % len(SCALES)])
    for days in LIVED[seed % len(LIVED)]:
        world.shop.advance(days)
        before = quarantined(world)

        run = world.run()

        found = noticed(run, before, quarantined(world))
        assert (run.held, run.refused, run.built) == ({}, {}, True)
        # What the provider's files have wrong every day waits in quarantine; nothing else is amiss.
        assert {rule for rule, how in found.items() if how is not How.QUARANTINED} == set()
        assert len(run.gate.findings) > 150
