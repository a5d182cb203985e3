"""The macro `in_changes`: what it is in a run, in a compiled model and in a unit test, and where it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets_tests.transform.depot import BRONZE, HISTORY, PARCELS, STAYS, Depot, hour, write_depot
from lakehouse.errors import TransformError
from lakehouse.tables import TableName
from lakehouse.transform.events import Status, TestFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.run import build


@pytest.fixture(scope="module")
def depot(tmp_path_factory: pytest.TempPathFactory) -> Depot:
    depot = write_depot(tmp_path_factory.mktemp("project"))
    depot.scan((1, "north", 1), (2, "north", 1), (3, "south", 1))
    rounds, _ = depot.run("first")
    assert (rounds.held, rounds.error) == ({}, None)
    return depot


def came(depot: Depot, name: TableName) -> int:
    """How many rows the newest build of a table yielded."""
    return int(json.loads(depot.lake.table(name).snapshots()[0].summary["lakehouse.merge"])["rows"])


def test_a_run_yields_only_the_keys_that_changed_all_the_way_down(depot: Depot) -> None:
    depot.scan((2, "east", 2), (3, None, 3))

    rounds, models = depot.run("second")

    assert (rounds.held, rounds.error) == ({}, None)
    assert [came(depot, name) for name in (PARCELS, HISTORY)] == [2, 4]
    assert came(depot, STAYS) == 4
    assert depot.rows(PARCELS, "parcel", "place") == [(1, "north"), (2, "east")]
    assert len(depot.rows(STAYS, "parcel", "seen")) == 5
    assert depot.rows(HISTORY, "parcel", "place", "valid_from", "valid_to") == [
        (1, "north", hour(1), None),
        (2, "east", hour(2), None),
        (2, "north", hour(1), hour(2)),
        (3, "south", hour(1), hour(3)),
    ]
    assert models["silver.parcels"].message == "overwrite 1 rows"


def test_a_run_without_news_commits_nothing(depot: Depot) -> None:
    heads = {name: depot.lake.table(name).snapshots()[0].id for name in (PARCELS, STAYS, HISTORY)}

    rounds, models = depot.run("idle")

    assert (rounds.held, rounds.error) == ({}, None)
    assert {model.message for model in models.values()} == {"none 0 rows"}
    assert {name: depot.lake.table(name).snapshots()[0].id for name in heads} == heads
    assert not any(depot.lake.table(name).branches() for name in heads)


def test_a_compiled_model_can_be_run_by_anybody(depot: Depot) -> None:
    model = Manifest.read(manifest_path(depot.settings)).by_table[PARCELS]
    assert "where true\n" in model.compiled_sql
    assert str(BRONZE) not in model.compiled_sql.replace('"', "").partition("where")[2]


def test_a_unit_test_reads_all_rows_that_it_is_given(depot: Depot) -> None:
    events = list(build(depot.settings, select=["silver.parcels"], command="test", run_key="units", unit_tests=True))
    events = list(build(depot.settings, select=["parcels"], command="test", run_key="units", unit_tests=True))
    units = [event for event in events if isinstance(event, TestFinished) and event.unique_id.startswith("unit_test.")]
    assert [(unit.name, unit.status) for unit in units] == [("the_latest_scan_of_every_parcel", Status.PASS)]


@pytest.mark.parametrize(
    ("path", "sql", "message"),
    [
        ("staging/stg_scans.sql", "source('bronze', 'scans')", "stg_scans uses in_changes.*strategy merge"),
        ("silver/parcels.sql", "ref('stg_views')", r"parcels uses in_changes of staging\.stg_views, which is a view"),
    ],
)
def test_where_a_part_of_the_rows_would_be_wrong_it_is_refused(depot: Depot, path: str, sql: str, message: str) -> None:
    models = depot.settings.dbt[0] / "models" / "depot"
    files = {
        models / "staging" / "stg_views.sql": "select 1 as parcel",
        models / path: f"select 1 as parcel where {{{{ in_changes('parcel', {sql}) }}}}",
    }
    before = {file: file.read_text() if file.is_file() else None for file in files}
    for file, text in files.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    try:
        with pytest.raises(TransformError, match=message):
            parse(depot.settings)
    finally:
        for file, kept in before.items():
            if kept is None:
                file.unlink()
            else:
                file.write_text(kept)
    assert Path(parse(depot.settings)).is_file()
