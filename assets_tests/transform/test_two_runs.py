"""Two runs of models by key at once: whoever is slower builds anew on what main is by then, and no row is lost."""

from __future__ import annotations

import pytest

from assets_tests.transform.depot import HISTORY, PARCELS, STAYS, Depot, hour, write_depot
from lakehouse.iceberg import connect
from lakehouse.tables import TableName
from lakehouse.transform.events import ModelFinished
from lakehouse.transform.rounds import ROUNDS

MODELS = ("silver.parcels", "silver.stays", "gold.parcels_then")


@pytest.fixture(scope="module")
def depot(tmp_path_factory: pytest.TempPathFactory) -> Depot:
    depot = write_depot(tmp_path_factory.mktemp("project"))
    depot.scan((1, "north", 1), (2, "north", 1), (3, "south", 1))
    rounds, _ = depot.run("first")
    assert (rounds.held, rounds.error) == ({}, None)
    return depot


def compact(depot: Depot, name: TableName) -> None:
    stored = depot.lake.table(name)
    with connect(depot.settings) as duck:
        assert stored.compact([[file.path for file in stored.live_files()]], connection=duck).groups == 1


def test_the_slower_run_builds_again_and_both_runs_rows_are_there(depot: Depot) -> None:
    depot.scan((1, "east", 2), (4, "east", 2))
    slow, models = depot.rounds("slow"), list[str]()
    for event in slow.run(MODELS):
        if isinstance(event, ModelFinished):
            models.append(event.name)
            if sorted(models) == sorted(MODELS):
                # All of the slow run is on its branch: another one sees more, and is done at once.
                depot.scan((2, "west", 3), (1, None, 3))
                fast, _ = depot.run("fast")
                assert (set(fast.published), fast.held, fast.error) == ({PARCELS, STAYS, HISTORY}, {}, None)
                depot.scan((5, "west", 4))
            elif models.count("silver.parcels") == 2 and event.name == "silver.parcels":
                compact(depot, PARCELS)

    assert (set(slow.published), slow.held, slow.error) == ({PARCELS, STAYS, HISTORY}, {}, None)
    # The other two were not in the way of the compaction.
    assert [models.count(name) for name in MODELS] == [ROUNDS, 2, 2]
    assert depot.rows(PARCELS, "parcel", "place") == [(2, "west"), (3, "south"), (4, "east"), (5, "west")]
    assert len(depot.rows(STAYS, "parcel", "seen")) == 8
    assert [row for row in depot.rows(HISTORY, "parcel", "place", "valid_from", "valid_to") if row[0] == 1] == [
        (1, "east", hour(2), hour(3)),
        (1, "north", hour(1), hour(2)),
    ]
    assert not any(depot.lake.table(name).branches() for name in (PARCELS, STAYS, HISTORY))
    _, again = depot.run("after")
    assert {model.message for model in again.values()} == {"none 0 rows"}
