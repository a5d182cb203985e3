"""A tick asks for what is needed and for nothing else, says why, and is clear about a lake that it cannot reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from lakehouse.errors import CatalogError
from lakehouse.iceberg import LakeTable
from lakehouse.ledger import UpkeepRecord, record_upkeep
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.upkeep import run_upkeep
from lakehouse.settings import Catalog
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Till

RECEIPTS = TableName.parse("bronze.receipts")
UPKEEP = dg.AssetKey(["upkeep", "bronze", "receipts"])
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def worn(kept: Till) -> LakeTable:
    return kept.wear(6)


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, group: str = "till") -> dg.ScheduleExecutionData:
    repository = defs.get_repository_def()
    schedule = repository.get_schedule_def(f"{group}_upkeep")
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOON, repository_def=repository)
    return schedule.evaluate_tick(context)


def due(kept: Till) -> dict[str, str]:
    """Why each table of the domain is asked for."""
    with open_instance(kept.settings) as instance:
        requests = tick(kept.defs, instance).run_requests or ()
    return {request.tags["lakehouse/table"]: request.tags["lakehouse/upkeep"] for request in requests}


def listed(kept: Till, ago: timedelta, outcome: str = "nothing", detail: str = "") -> None:
    """Tell `ops.upkeep` that orphans of the receipts were looked for so long ago, or could not be."""
    at = datetime.now(UTC) - ago
    figures: dict[str, Any] = dict.fromkeys(
        ("files_before", "files_after", "bytes_before", "bytes_after", "rows", "delete_files_before",
         "delete_files_after", "snapshots_before", "snapshots_after"), 1
    )  # fmt: skip
    record_upkeep(
        kept.lake,
        [UpkeepRecord(RECEIPTS, "orphans", outcome, detail, seconds=0.1, run_id="r", started_at=at, **figures)],
        run_key=f"listed-{at.isoformat()}",
    )


def test_a_lake_without_tables_is_skipped_with_a_reason(kept: Till) -> None:
    with open_instance(kept.settings) as instance:
        skipped = tick(kept.defs, instance)
    assert not skipped.run_requests
    assert skipped.skip_message == "0 tables looked at, none has anything to do; 3 are not there yet"


def test_a_table_with_small_files_is_asked_for_alone_and_the_run_says_why(kept: Till, worn: LakeTable) -> None:
    files = worn.stats().files
    with open_instance(kept.settings) as instance:
        [request] = list(tick(kept.defs, instance).run_requests or ())
        [again] = list(tick(kept.defs, instance).run_requests or ())
    assert request.asset_selection == [UPKEEP]
    assert request.tags["lakehouse/table"] == "bronze.receipts"
    reason = request.tags["lakehouse/upkeep"]
    assert reason.startswith(f"{files} files")
    assert "small files" in reason
    # One tick, one run: a daemon that is started anew asks for no second one.
    assert request.run_key == again.run_key == "bronze.receipts:2026-01-01T12:00:00+00:00"


def test_a_tick_changes_nothing(kept: Till, worn: LakeTable) -> None:
    before = sorted(path for path in kept.settings.state.joinpath("warehouse").rglob("*"))
    snapshots = worn.snapshots()
    assert due(kept)
    assert worn.snapshots() == snapshots
    assert sorted(path for path in kept.settings.state.joinpath("warehouse").rglob("*")) == before


def test_what_a_tick_asks_for_is_done_and_the_next_one_asks_for_nothing(kept: Till, worn: LakeTable) -> None:
    with open_instance(kept.settings) as instance:
        [request] = list(tick(kept.defs, instance).run_requests or ())
        job = kept.defs.resolve_job_def("till_upkeep")
        done = job.execute_in_process(
            instance=instance, asset_selection=list(request.asset_selection or ()), tags=request.tags
        )
        after = tick(kept.defs, instance)
    assert done.success
    assert worn.stats().files == 1
    assert not after.run_requests
    assert after.skip_message == "1 tables looked at, none has anything to do; 2 are not there yet"


@contextmanager
def under_way(kept: Till, status: dg.DagsterRunStatus) -> Iterator[dg.DagsterInstance]:
    """A run that a tick asked for, in a state."""
    with open_instance(kept.settings) as instance:
        job = kept.defs.resolve_job_def("till_upkeep")
        run = instance.create_run_for_job(job, tags={"lakehouse/table": str(RECEIPTS)}, status=status)
        yield instance
        instance.delete_run(run.run_id)


@pytest.mark.parametrize("status", ["NOT_STARTED", "STARTED", "CANCELING"])
def test_a_table_whose_upkeep_is_under_way_is_not_asked_for_again(kept: Till, worn: LakeTable, status: str) -> None:
    assert worn.stats().files > 1
    with under_way(kept, dg.DagsterRunStatus[status]) as instance:
        skipped = tick(kept.defs, instance)
    assert not skipped.run_requests
    assert skipped.skip_message == (
        "0 tables looked at, none has anything to do; upkeep of 1 is under way; 2 are not there yet"
    )
    assert list(due(kept)) == ["bronze.receipts"]


def test_a_run_that_failed_is_not_under_way(kept: Till, worn: LakeTable) -> None:
    assert worn.stats().files > 1
    with under_way(kept, dg.DagsterRunStatus.FAILURE) as instance:
        assert len(tick(kept.defs, instance).run_requests or ()) == 1


def test_orphans_are_looked_for_once_a_day(kept: Till, worn: LakeTable) -> None:
    assert run_upkeep(kept.settings, [RECEIPTS]).success
    assert worn.stats().files == 1
    assert due(kept) == {}, "a table that is younger than a day has no orphans that are old enough"

    kept.forget_upkeep()
    listed(kept, timedelta(days=2))
    (reason,) = due(kept).values()
    assert reason.startswith("orphaned files were not looked for since 20")

    # A run begins some time after its tick: by tomorrow's a whole day has not passed.
    listed(kept, timedelta(hours=23))
    assert len(due(kept)) == 1
    listed(kept, timedelta(hours=19))
    assert due(kept) == {}


def test_a_table_whose_upkeep_fails_is_asked_for_once_a_day_and_the_tick_says_why(kept: Till, worn: LakeTable) -> None:
    assert worn.stats().files > 1
    listed(kept, timedelta(0))
    kept.forget_upkeep()
    listed(kept, timedelta(hours=21), "failed", "it shares a folder")
    (reason,) = due(kept).values()
    assert "orphaned files are to be looked for again" in reason
    assert "; orphans failed at 20" in reason
    assert reason.endswith(": it shares a folder")
    listed(kept, timedelta(hours=1), "failed", "it still does")
    with open_instance(kept.settings) as instance:
        skipped = tick(kept.defs, instance)
    assert not skipped.run_requests
    assert skipped.skip_message is not None
    assert skipped.skip_message.startswith("0 tables looked at, none has anything to do; ")
    assert "bronze.receipts is left for a day: orphans failed at 20" in skipped.skip_message
    assert skipped.skip_message.endswith(": it still does")
    # Mended, and done by hand.
    listed(kept, timedelta(0))
    assert "orphan" not in due(kept)["bronze.receipts"]


def test_a_table_that_cannot_be_looked_at_is_asked_for_so_that_its_run_says_why(kept: Till, worn: LakeTable) -> None:
    metadata = Path(kept.settings.warehouse.removeprefix("file://")) / "bronze" / "receipts" / "metadata"
    lost = {file: file.with_suffix(".lost") for file in metadata.glob("*.avro")}
    assert lost
    assert worn.stats().files
    for file, elsewhere in lost.items():
        file.rename(elsewhere)
    try:
        (reason,) = due(kept).values()
        with under_way(kept, dg.DagsterRunStatus.FAILURE) as instance:
            skipped = tick(kept.defs, instance)
        run = run_upkeep(kept.settings, [RECEIPTS])
    finally:
        for file, elsewhere in lost.items():
            elsewhere.rename(file)
    assert reason.startswith("it cannot be looked at: ")
    # That run has said it, and the next one would say the same.
    assert not skipped.run_requests
    assert f"bronze.receipts is left for a day: {reason}" in str(skipped.skip_message)
    assert not run.success
    assert ".avro" in run.failures[0].reason


def test_a_catalog_that_cannot_be_reached_is_an_error_of_the_tick_in_our_words(kept: Till) -> None:
    nowhere = Catalog.model_validate({"uri": "postgresql+psycopg://nobody@127.0.0.1:9/lake", "timeout_s": 1})
    with open_instance(kept.settings) as instance, pytest.raises(CatalogError, match="the catalog does not answer"):
        tick(kept.moved(nowhere).defs, instance)


def test_the_lakes_own_tables_have_a_tick_of_their_own(kept: Till, worn: LakeTable) -> None:
    assert worn.stats().files > 1
    for hours in range(6):
        listed(kept, timedelta(hours=hours))
    with open_instance(kept.settings) as instance:
        requests = tick(kept.defs, instance, "lakehouse").run_requests or ()
    assert [request.asset_selection for request in requests] == [[dg.AssetKey(["upkeep", "ops", "upkeep"])]]
