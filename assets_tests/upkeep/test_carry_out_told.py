"""What upkeep did only in part, or left alone, is told: in its report, in `ops.upkeep` and in the UI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from assets_tests.upkeep.left import data_files, recorded
from lakehouse.errors import SourceUnreachable
from lakehouse.iceberg import Lake, LakeTable, Orphan, Removal, Sweep
from lakehouse.iceberg.compaction import run
from lakehouse.orchestration.upkeep_metadata import report_metadata
from lakehouse.settings import Settings
from lakehouse.storage import Deleted, FolderStore, from_uri, local_path
from lakehouse.tables import Table
from lakehouse.upkeep import Action, Outcome, keep_up

Rows = Callable[..., pa.Table]


def test_what_was_committed_before_a_compaction_failed_is_told(
    settings: Settings, lake: Lake, orders: Table, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit for each group here: the first day is packed, and a file of the second is broken."""
    table = lake.create(orders)
    for number in range(5):
        table.append(rows([number], date(2026, 1, 1)), run_key=f"a{number}")
        table.append(rows([number], date(2026, 1, 2)), run_key=f"b{number}")
    monkeypatch.setattr(run, "_BATCH_GROUPS", 1)
    broken = max(table.live_files(), key=lambda file: file.partition)
    local_path(from_uri(broken.path)).write_bytes(b"no parquet")
    report = keep_up(settings, lake, table.name, run_id="run-1", actions=[Action.COMPACT])
    assert (report.outcome(Action.COMPACT), report.after.files) == (Outcome.FAILED, 6)
    (trouble,) = report.troubles
    assert trouble.startswith("compact: 5 files became 1; then: ")
    assert "Parquet" in trouble
    assert report.compaction is not None
    assert report.compaction.commits[-1].snapshot_id == table.snapshots()[0].id
    (entry,) = recorded(lake)
    assert (entry["outcome"], entry["groups"], entry["rows_proved"]) == ("failed", 1, 5)
    assert (entry["row_hash"], f"compact: {entry['detail']}") == (report.compaction.row_hash, trouble)


def test_what_was_removed_before_a_sweep_failed_is_told(
    settings: Settings, lake: Lake, small: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = data_files(small)[0].parent
    for number in range(1200):
        (folder / f"stray-{number}.parquet").touch()
    first = datetime.now(UTC) + timedelta(days=4)
    keep_up(settings, lake, small.name, run_id="run-1", now=first, actions=[Action.ORPHANS])
    honest, left = FolderStore.delete, [1]

    def once(self: FolderStore, paths: Iterable[str]) -> Deleted:
        if not left:
            raise SourceUnreachable("the storage is gone", remedy="Wait.")
        left.pop()
        return honest(self, paths)

    monkeypatch.setattr(FolderStore, "delete", once)
    later = first + timedelta(days=4)
    report = keep_up(settings, lake, small.name, run_id="run-2", now=later, actions=[Action.ORPHANS])
    (trouble,) = report.troubles
    assert trouble == "orphans: 1,200 orphaned files, 0 new, 1,000 removed; then: the storage is gone. Wait."
    assert (report.files_deleted, recorded(lake)[-1]["files_deleted"]) == (1000, 1000)


def test_files_that_may_be_named_by_another_spelling_are_told(settings: Settings, lake: Lake, small: LakeTable) -> None:
    """Kept for good: somebody has to look at them."""
    folder = data_files(small)[0].parent
    (folder / "elsewhere").mkdir()
    twin = folder / "elsewhere" / data_files(small)[0].name
    twin.write_bytes(b"of the same name")
    now = datetime.now(UTC) + timedelta(days=4)
    report = keep_up(settings, lake, small.name, run_id="run-1", now=now, actions=[Action.ORPHANS])
    assert report.outcome(Action.ORPHANS) is Outcome.REFUSED
    (refused,) = report.refused
    assert refused.startswith("orphans: 0 orphaned files, 0 new, 0 removed; 1 file kept for good: metadata names")
    assert recorded(lake)[-1]["outcome"] == "refused"
    assert report_metadata(report)["lakehouse/orphans_doubtful"] == 1
    assert twin.exists()


def test_files_that_were_committed_between_search_and_removal_are_told(
    settings: Settings, lake: Lake, small: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    stray = data_files(small)[0].parent / "stray.parquet"
    stray.write_bytes(data_files(small)[0].read_bytes())
    first = datetime.now(UTC) + timedelta(days=4)
    keep_up(settings, lake, small.name, run_id="run-1", now=first, actions=[Action.ORPHANS])
    honest = Sweep.remove

    def late(self: Sweep, batch: Sequence[Orphan]) -> Removal:
        lake._catalog.load_table(small.name.key).add_files([f"file://{stray}"])  # noqa: SLF001  (another program)
        return honest(self, batch)

    monkeypatch.setattr(Sweep, "remove", late)
    later = first + timedelta(days=4)
    report = keep_up(settings, lake, small.name, run_id="run-2", now=later, actions=[Action.ORPHANS])
    assert recorded(lake)[-1]["detail"] == "1 orphaned file, 0 new, 0 removed; 1 file kept: committed meanwhile"
    assert (report.outcome(Action.ORPHANS), report_metadata(report)["lakehouse/orphans_named"]) == ("nothing", 1)
    assert stray.exists()
