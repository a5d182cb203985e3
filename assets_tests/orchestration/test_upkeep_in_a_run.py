"""Upkeep as a run of the instance: what it did is told in Dagster, recorded in the lake and drawn on a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from lakehouse.errors import SettingsError
from lakehouse.iceberg import LakeTable, TableStats
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.upkeep import UpkeepRun, run_upkeep
from lakehouse.services.pages import pages_folder
from lakehouse.tables import TableName
from lakehouse.upkeep import Action

if TYPE_CHECKING:
    from conftest import Till

RECEIPTS, SILVER = TableName.parse("bronze.receipts"), TableName.parse("silver.receipts")
UPKEEP, TABLE = dg.AssetKey(["upkeep", "bronze", "receipts"]), dg.AssetKey(["bronze", "receipts"])
LEDGER = TableName.parse("ops.upkeep")
FILES = 6


@pytest.fixture
def worn(kept: Till) -> LakeTable:
    """The till's receipts, with six small files more."""
    return kept.wear(FILES)


def facts(kept: Till, key: dg.AssetKey = UPKEEP) -> Mapping[str, Any]:
    """What the last materialization of an asset says."""
    with open_instance(kept.settings) as instance:
        event = instance.get_latest_materialization_event(key)
    assert event is not None
    assert event.asset_materialization is not None
    return {name: entry.value for name, entry in event.asset_materialization.metadata.items()}


def observed(kept: Till, key: dg.AssetKey) -> list[Mapping[str, Any]]:
    """What has been observed of an asset, newest first."""
    with open_instance(kept.settings) as instance:
        records = instance.fetch_observations(key, limit=10).records
    found = [record.asset_observation for record in records]
    return [{name: entry.value for name, entry in one.metadata.items()} for one in found if one is not None]


def recorded(kept: Till, run_id: str) -> dict[str, dict[str, Any]]:
    """The rows of `ops.upkeep` of a run, by action."""
    rows = kept.lake.table(LEDGER).scan(where=f"run_id = '{run_id}'").read_all().to_pylist()
    return {row["action"]: row for row in rows}


@dataclass(frozen=True)
class Packed:
    """A table that was worn, and the run that packed it."""

    table: LakeTable
    before: TableStats
    run: UpkeepRun
    said: Sequence[str]


@pytest.fixture(scope="module")
def packed(kept: Till) -> Packed:
    table, said = kept.wear(FILES), list[str]()
    before = table.stats()
    return Packed(table, before, run_upkeep(kept.settings, [RECEIPTS], say=said.append), said)


def test_a_run_packs_small_files_and_tells_before_and_after(kept: Till, packed: Packed) -> None:
    assert packed.run.failures == ()
    assert packed.run.success
    assert (packed.before.files, packed.table.stats().files) == (FILES, 1)
    assert packed.before.rows == packed.table.stats().rows == FILES
    (report,) = packed.run.reports
    assert (report.before.files, report.after.files) == (FILES, 1)
    told = facts(kept)
    assert (told["lakehouse/files_before"], told["lakehouse/files"]) == (FILES, 1)
    assert (told["lakehouse/rows_before"], told["lakehouse/rows"]) == (FILES, FILES)
    assert told["lakehouse/bytes_before"] == packed.before.bytes > told["lakehouse/bytes"]
    assert told["lakehouse/bytes"] == packed.table.stats().bytes
    assert told["lakehouse/groups_packed"] == 1
    assert told["lakehouse/compact_seconds"] >= 0
    assert any("became 1" in line for line in packed.said)


def test_the_proof_of_a_run_is_the_same_in_dagster_the_lake_and_the_snapshot(kept: Till, packed: Packed) -> None:
    ledger, told, snapshot = recorded(kept, packed.run.run_id), facts(kept), packed.table.snapshots()[0]
    assert set(ledger) == {"compact", "expire", "orphans"}
    assert told["lakehouse/row_hash"] == ledger["compact"]["row_hash"]
    assert told["lakehouse/row_hash"] == json.loads(snapshot.summary["lakehouse.proof"])["hash"]
    assert told["lakehouse/snapshot_id"] == str(snapshot.id)
    assert told["lakehouse/rows_proved"] == ledger["compact"]["rows_proved"] == FILES


def test_the_run_is_in_the_instance_where_its_url_says(kept: Till, packed: Packed) -> None:
    run_id = packed.run.run_id
    assert packed.run.url.endswith(f"/runs/{run_id}")
    with open_instance(kept.settings) as instance:
        found = instance.get_run_by_id(run_id)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.SUCCESS
        lines = [entry.user_message for entry in instance.all_logs(run_id)]
    assert any("became 1" in line for line in lines), "progress is in the log of the run, too"


def test_the_table_keeps_its_own_story(kept: Till, packed: Packed) -> None:
    """What is told of the table itself, its preview and lineage, must not be pushed aside by figures of upkeep."""
    assert packed.run.success
    assert observed(kept, TABLE) == []
    with open_instance(kept.settings) as instance:
        assert instance.get_latest_materialization_event(TABLE) is None


def test_upkeep_of_what_needs_none_is_told_all_the_same(kept: Till, packed: Packed) -> None:
    before = packed.table.snapshots()

    run = run_upkeep(kept.settings, [RECEIPTS])

    assert run.success
    assert packed.table.snapshots() == before
    told = facts(kept)
    assert told["lakehouse/files_before"] == told["lakehouse/files"] == 1
    assert "lakehouse/row_hash" not in told, "nothing was proved"
    assert recorded(kept, run.run_id)["compact"]["outcome"] == "nothing"


def test_the_page_of_a_table_shows_every_turn(kept: Till, packed: Packed) -> None:
    assert packed.run.success
    page = (pages_folder(kept.settings) / "upkeep" / "bronze.receipts.html").read_text()
    assert page.count('<rect class="before"') == page.count('<rect class="after"') == 4
    assert f"before: {FILES}<" in page
    assert "after: 1<" in page
    assert f"{FILES} files became 1" in page


def test_a_dry_run_changes_nothing_and_says_what_it_would(kept: Till, worn: LakeTable) -> None:
    snapshots, told = worn.snapshots(), len(observed(kept, UPKEEP))
    said: list[str] = []

    run = run_upkeep(kept.settings, [RECEIPTS], dry_run=True, say=said.append)

    assert run.success
    assert worn.snapshots() == snapshots
    assert recorded(kept, run.run_id) == {}
    assert any("small files" in line for line in said)
    with open_instance(kept.settings) as instance:
        assert not instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    assert len(observed(kept, UPKEEP)) == told + 1
    assert observed(kept, UPKEEP)[0]["lakehouse/dry_run"] is True
    assert run.reports[0].plan.files >= FILES


def test_only_the_actions_that_were_asked_for_are_carried_out(kept: Till, worn: LakeTable) -> None:
    files = worn.stats().files
    run = run_upkeep(kept.settings, [RECEIPTS], actions=[Action.EXPIRE])
    assert run.success
    assert worn.stats().files == files
    assert set(recorded(kept, run.run_id)) == {"expire"}


def test_a_table_that_is_not_there_yet_is_passed_over_and_fails_no_backfill(kept: Till) -> None:
    said: list[str] = []
    run = run_upkeep(kept.settings, [SILVER], say=said.append)
    assert (run.success, run.reports) == (True, ())
    assert said == ["silver.receipts is not there yet: nothing to keep up"]
    with open_instance(kept.settings) as instance:
        told = instance.get_latest_materialization_event(dg.AssetKey(["upkeep", "silver", "receipts"]))
    assert told is not None
    assert told.asset_materialization is not None
    assert told.asset_materialization.metadata["lakehouse/note"].value == "not there yet"


def test_a_table_that_nobody_declares_is_a_mistake_that_is_named(kept: Till) -> None:
    with pytest.raises(SettingsError, match=r"bronze\.receipt") as refused:
        run_upkeep(kept.settings, [TableName.parse("bronze.receipt")])
    assert refused.value.remedy == "Did you mean bronze.receipts?"


def test_an_action_that_nobody_knows_fails_in_words(kept: Till, worn: LakeTable) -> None:
    assert worn.stats().files > 1
    config = {"ops": {"upkeep__bronze__receipts": {"config": {"actions": ["vacuum"]}}}}
    with open_instance(kept.settings) as instance:
        result = kept.defs.resolve_job_def("till_upkeep").execute_in_process(
            instance=instance, run_config=config, asset_selection=[UPKEEP], raise_on_error=False
        )
    (event,) = result.filter_events(lambda event: event.is_step_failure)
    assert event.step_failure_data.error is not None
    assert "upkeep has no action vacuum" in str(event.step_failure_data.error)


def test_an_action_that_fails_fails_the_run_and_the_others_are_told(kept: Till, worn: LakeTable) -> None:
    lost = Path(next(file.path for file in worn.live_files()).removeprefix("file://"))
    hidden = lost.with_suffix(".lost")
    lost.rename(hidden)
    try:
        run = run_upkeep(kept.settings, [RECEIPTS])
    finally:
        hidden.rename(lost)

    assert not run.success
    (failure,) = run.failures
    assert (failure.step, failure.finding) == ("upkeep.bronze.receipts", False)
    assert failure.reason.startswith("compact: ")
    ledger = recorded(kept, run.run_id)
    assert {action: row["outcome"] == "failed" for action, row in ledger.items()} == {
        "compact": True,
        "expire": False,
        "orphans": False,
    }
    told = facts(kept)
    assert told["lakehouse/troubles"] == failure.reason
    assert told["lakehouse/files_before"] == told["lakehouse/files"] == worn.stats().files
    assert run_upkeep(kept.settings, [RECEIPTS]).success, "the next run makes up for it"


def test_one_table_that_fails_stops_no_other(kept: Till, worn: LakeTable) -> None:
    lost = Path(next(file.path for file in worn.live_files()).removeprefix("file://"))
    hidden = lost.with_suffix(".lost")
    lost.rename(hidden)
    try:
        run = run_upkeep(kept.settings, [RECEIPTS, LEDGER])
    finally:
        hidden.rename(lost)
    assert [failure.step for failure in run.failures] == ["upkeep.bronze.receipts"]
    assert {report.table for report in run.reports} == {RECEIPTS, LEDGER}
    assert facts(kept, dg.AssetKey(["upkeep", "ops", "upkeep"]))["lakehouse/rows"] > 0


def test_a_page_that_cannot_be_written_hides_nothing(kept: Till, worn: LakeTable) -> None:
    folder = pages_folder(kept.settings) / "upkeep"
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)
    folder.write_text("a file in its place")
    try:
        run = run_upkeep(kept.settings, [RECEIPTS])
    finally:
        folder.unlink()
        elsewhere.rename(folder)
    assert "cannot be written to" in run.failures[0].reason
    assert worn.stats().files == 1
    assert facts(kept)["lakehouse/files"] == 1
    assert set(recorded(kept, run.run_id)) == {"compact", "expire", "orphans"}
