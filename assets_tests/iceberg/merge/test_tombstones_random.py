"""Changes in any order, some twice, with all that may happen to a table between: the highest sequence decides."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.expired import expire
from assets_tests.iceberg.merge.things import THINGS, Change, Things, appended
from lakehouse.iceberg import Lake, Way
from lakehouse.settings import Settings
from lakehouse.tables import TableName

KEYS = range(1, 5)
OTHERS = 1000
"""From here on keys are not merged, but appended by others."""
BETWEEN = ("nothing", "compact", "expire", "branch", "restore", "foreign")


@st.composite
def streams(draw: st.DrawFn) -> list[list[Change]]:
    """Changes of a few keys, each with a sequence of its own, in batches of any order; some come twice."""
    keys = draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=14))
    changes = [(key, number, draw(st.sampled_from([None, f"{key}/{number}"]))) for number, key in enumerate(keys)]
    again = draw(st.lists(st.sampled_from(changes), max_size=4))
    order = draw(st.permutations([*changes, *again]))
    cuts = draw(st.lists(st.booleans(), min_size=len(order), max_size=len(order)))
    numbered = [(sum(cuts[:at]), change) for at, change in enumerate(order)]
    return [[change for _, change in batch] for _, batch in groupby(numbered, key=lambda pair: pair[0])]


@dataclass(frozen=True)
class World:
    """A new table for each example, and what others do to it."""

    settings: Settings
    lake: Lake
    duck: duckdb.DuckDBPyConnection
    foreign: Callable[[TableName], IcebergTable]

    def things(self) -> Things:
        name = TableName(THINGS.name.layer, f"things_{os.urandom(6).hex()}")
        return Things.made(self.lake, self.duck, replace(THINGS, name=name))

    def act(self, things: Things, what: str, number: int) -> None:
        """What happens before the batch of this number."""
        if what == "compact" and (paths := [live.path for live in things.table.live_files()]):
            things.table.compact([paths], connection=self.duck)
        elif what == "expire":
            expire(self.settings, things.table)
        elif what == "foreign":
            self.foreign(things.table.name).append(appended(OTHERS + number))
        elif what == "restore" and (head := things.table.snapshot()) is not None:
            # What is undone would win against everything.
            things.merge(*((key, OTHERS, None if key % 2 else "undone") for key in KEYS))
            things.table.restore(things.table.plan_restore(to=head.id))


@pytest.fixture
def any_settings(settings: Settings) -> Settings:
    """What a catalog cannot change here."""
    return settings


@pytest.fixture
def world(
    settings: Settings, lake: Lake, duck: duckdb.DuckDBPyConnection, foreign: Callable[[TableName], IcebergTable]
) -> World:
    return World(settings, lake, duck, foreign)


@examples(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), batches=streams())
def test_each_key_is_what_its_highest_sequence_says(
    world: World, data: st.DataObject, batches: list[list[Change]]
) -> None:
    things, ways = world.things(), st.sampled_from([None, *Way])
    for number, batch in enumerate(batches):
        between = data.draw(st.sampled_from(BETWEEN))
        world.act(things, between, number)
        way = data.draw(ways)
        if between == "branch" and number:
            things.table.create_branch(f"run/{number}")
            things.merge(*batch, branch=f"run/{number}", way=way)
            things.table.publish(f"run/{number}")
        else:
            things.merge(*batch, way=way)
    newest = sorted((change for batch in batches for change in batch), key=lambda change: change[:2])
    last = {key: (sequence, name) for key, sequence, name in newest}
    rows = {key: told for key, told in things.rows().items() if key < OTHERS}
    assert rows == {key: told for key, told in last.items() if told[1] is not None}
    assert things.remembered() == {key: sequence for key, (sequence, name) in last.items() if name is None}
