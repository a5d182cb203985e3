"""A run of Dagster's whose main moves under it: it ends well, and nothing is told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.project import definitions, ready_models
from lakehouse.orchestration.runs import run_tables
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import TableName
from lakehouse.transform import rounds
from lakehouse.transform.events import Event, ModelFinished

ROOT = Path(__file__).parents[2]
BRONZE, SILVER = TableName.parse("bronze.products"), TableName.parse("silver.products")
MADE = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Settings:
    """The project, with one product in bronze and no service."""
    settings = load_settings(ROOT, state=str(tmp_path), catalog={"uri": f"sqlite:///{tmp_path}/catalog.db"})
    ready_models(settings)
    table = read_tables(settings.defs)[BRONZE]
    row = {
        "product_id": 1,
        "name": "Bread",
        "category": "food",
        "price": Decimal("2.50"),
        "created_at": MADE,
        "updated_at": MADE,
        "_extracted_at": MADE,
        "_source": "test",
        "_run_key": "load",
        "_source_version": None,
        "_extra": None,
    }
    rows = pa.Table.from_pylist([row], schema=arrow_schema(table.stored_columns))
    Lake.open(settings).create(table).append(rows, run_key="load")
    return settings


def moving(
    build: Callable[..., Generator[Event, None, None]], lake: Lake
) -> Callable[..., Generator[Event, None, None]]:
    """The build, in whose first round another writer commits to main of the table that is built."""

    def run(*words: object, **named: object) -> Generator[Event, None, None]:
        for event in build(*words, **named):
            if isinstance(event, ModelFinished) and event.table == SILVER:
                target = lake.table(SILVER)
                # The run key is on main from the first round on.
                target.append(target.schema().empty_table(), run_key="other", progress={"other": {"n": 1}})
            yield event

    return run


def test_a_build_that_main_overtakes_ends_well_and_tells_each_check_once(
    shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake.open(shop)
    monkeypatch.setattr(rounds, "build", moving(rounds.build, lake))

    staged = dg.AssetKey(["staging", "stg_products"])
    with open_instance(shop) as instance:
        report = run_tables(definitions(shop), instance, [SILVER], also=[staged])
        events = instance.all_logs(report.run_id)

    assert (report.success, report.failures) == (True, ())
    told = Counter((name, check) for name, check, _, _ in report.checks)
    assert told
    assert set(told.values()) == {1}
    assert {passed for _, _, passed, _ in report.checks} == {True}
    materialized = [entry for entry in events if entry.dagster_event and entry.dagster_event.is_step_materialization]
    assert Counter(str(entry.get_dagster_event().asset_key) for entry in materialized).most_common(1)[0][1] == 1
    table = lake.table(SILVER)
    assert (table.stats().rows, table.branches(), table.progress("other")) == (1, (), {"n": 1})
    assert [snapshot.operation for snapshot in table.snapshots()][:2] == ["append", "append"]
