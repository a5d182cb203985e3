"""Loads as runs of Dagster: the balance in the UI, and days read again by configuration, as a launchpad gives it."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets_tests.projects import head, write
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.orchestration.bronze import bronze_assets
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.runs import Reread, RunReport, run_tables
from lakehouse.settings import Settings
from lakehouse.tables import Layer, TableName, Window

COINS = TableName.parse("bronze.coins")
_CONTRACT = (
    head("till", "bronze", "coins", "Coins.")
    + """\
      - {name: number, logicalType: integer, required: true, description: Number of the coin}
customProperties:
  - {property: load, value: {source: landing, files: "*.jsonl"}}
  - {property: rejectLimit, value: {share: 0.5, rows: 3}}
"""
)


@pytest.fixture
def till(tmp_path: Path) -> Settings:
    settings = write(tmp_path / "till", {"defs/till/bronze/coins.yaml": _CONTRACT})
    (settings.state / "landing").mkdir(parents=True, exist_ok=True)
    return settings


def deliver(settings: Settings, day: int, *numbers: int | None) -> None:
    lines = "\n".join(json.dumps({"number": number}) for number in numbers)
    (settings.state / "landing" / f"2026-01-{day:02}.jsonl").write_text(lines)


def run(settings: Settings, reread: Reread | None = None) -> tuple[RunReport, dict[str, Any], dict[str, str]]:
    """The report of a run, the metadata of what it made, and its tags."""
    defs = dg.Definitions(assets=bronze_assets(settings, read_tables(settings.defs)))
    with open_instance(settings) as instance:
        report = run_tables(defs, instance, [COINS], reread=reread)
        event = instance.get_latest_materialization_event(dg.AssetKey(list(COINS.key)))
        made = event.asset_materialization if event and event.run_id == report.run_id else None
        found = instance.get_run_by_id(report.run_id)
    metadata = {} if made is None else {key: value.value for key, value in made.metadata.items()}
    return report, metadata, dict(found.tags) if found else {}


def test_the_balance_is_shown_and_checked_and_days_are_read_again(till: Settings) -> None:
    deliver(till, 1, 1, 2, None)
    deliver(till, 2, 3)
    report, metadata, _ = run(till)
    assert report.success
    assert (COINS, "every_row_accounted_for", True, "ERROR") in report.checks
    assert metadata["lakehouse/balance"].splitlines() == [
        "| rows | number | counted |",
        "| --- | --- | --- |",
        "| read | 4 | by the source if it can |",
        "| published | 3 | in bronze's manifests |",
        "| quarantined | 1 | in the quarantine |",
        "| seen | 0 | in either of them already |",
        "| difference | 0 | must be 0 |",
    ]
    numbers = {name: metadata[f"lakehouse/rows_{name}"] for name in ("read", "published", "quarantined", "difference")}
    assert numbers == {"read": 4, "published": 3, "quarantined": 1, "difference": 0}
    assert (metadata["lakehouse/retries"], metadata["lakehouse/bytes_read"] > 0) == (0, True)

    Lake.open(till).table(COINS).delete("number = 2", run_key="an accident")
    report, metadata, tags = run(till, Reread(Window.of_days(date(2026, 1, 1), date(2026, 1, 1))))
    assert (report.success, tags["lakehouse/reread"]) == (True, "2026-01-01 to 2026-01-01")
    assert metadata["lakehouse/reread"] == "2026-01-01..2026-01-01"
    assert (metadata["lakehouse/rows_published"], metadata["lakehouse/rows_seen"]) == (1, 2)
    _, metadata, tags = run(till, Reread())
    assert (tags["lakehouse/reread"], metadata["lakehouse/reread"]) == ("full", "full")
    assert (metadata["lakehouse/rows_published"], metadata["lakehouse/rows_seen"]) == (0, 4)


def test_a_launchpad_that_names_no_days_says_so(till: Settings) -> None:
    deliver(till, 1, 1)
    job = dg.Definitions(assets=bronze_assets(till, read_tables(till.defs))).resolve_implicit_global_asset_job_def()
    config = {"ops": {"bronze__coins": {"config": {"first_day": "yesterday"}}}}
    with open_instance(till) as instance:
        result = job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    (failed,) = [event for event in result.all_events if event.is_step_failure]
    assert "the days to read again are no days" in str(failed.step_failure_data.error)


def test_a_balance_out_of_true_fails_the_run_at_its_check(till: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    append = LakeTable.append

    def lose(table: LakeTable, given: Any, **promise: Any) -> Any:  # noqa: ANN401  (as `append` has it)
        if table.name.layer is Layer.BRONZE:
            whole: pa.Table = given.read_all()
            given = whole.slice(1)
        return append(table, given, **promise)

    monkeypatch.setattr(LakeTable, "append", lose)
    deliver(till, 1, 1, 2)
    report, metadata, _ = run(till)
    assert (COINS, "every_row_accounted_for", False, "ERROR") in report.checks
    assert not report.success
    assert metadata["lakehouse/rows_difference"] == 1
