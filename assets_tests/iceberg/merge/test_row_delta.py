"""Snapshots that hide rows: what manifests and summaries say, what is proved, and what becomes of it later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.manifest import ManifestContent, ManifestEntryStatus, ManifestFile
from pyiceberg.table.delete_file_index import PATH_FIELD_ID

from assets_tests.iceberg.merge.row_delta import (
    live,
    opened,
    paths,
    recounted,
    row_delta,
    summary,
    totals,
)
from assets_tests.iceberg.merge.twin import Twin
from assets_tests.iceberg.merge.twin import rows as things
from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg import CHANGE, Lake, LakeTable
from lakehouse.iceberg.commits.delete_manifests import DeleteManifests
from lakehouse.iceberg.refs.at import At
from lakehouse.storage import Store
from lakehouse.tables import PartitionField, Table

FAR = timedelta(days=99)


@pytest.fixture
def table(twins: Callable[..., Twin]) -> LakeTable:
    """Three files: ids 1 to 4, 5 to 8 (1 January), 9 to 12 (2 January), partitioned by day."""
    twin = twins("by day")
    for first, day in ((1, 1), (5, 1), (9, 2)):
        twin.append(things(*((number, day, "old", 1) for number in range(first, first + 4))))
    return twin.table


def ids(table: LakeTable, at: At = "main") -> list[int]:
    return sorted(table.scan(columns=["id"], at=at).read_all()["id"].to_pylist())


def test_rows_go_and_come_in_one_snapshot(table: LakeTable) -> None:
    first, _, third = paths(table)
    done = row_delta(table, {first: [0, 3], third: [1]}, rows=things((1, 3, "new", 2)))
    assert ids(table) == [1, 2, 3, 5, 6, 7, 8, 9, 11, 12]
    assert (done.operation, done.files_added, done.files_removed) == ("overwrite", 1, 0)
    assert table.snapshots()[0].id == done.snapshot_id


def test_the_summary_counts_what_the_manifests_hold(table: LakeTable) -> None:
    """The keys are those of Iceberg's SnapshotSummary; a superseded delete file counts as removed."""
    first, second, third = paths(table)
    row_delta(table, {first: [0, 3], third: [1]}, rows=things((1, 1, "new", 2)))
    said = summary(table)
    assert {key: said[key] for key in said if "delete" in key} == {
        "added-delete-files": "2",
        "added-position-delete-files": "2",
        "added-position-deletes": "3",
        "total-delete-files": "2",
        "total-position-deletes": "3",
        "total-equality-deletes": "0",
    }
    assert (said["added-records"], said["changed-partition-count"]) == ("1", "2")
    assert totals(table) == recounted(table)
    row_delta(table, {first: [1], second: [0]}, removed=[third])
    said = summary(table)
    assert {key: said[key] for key in said if "delete" in key} == {
        "deleted-data-files": "1",
        "deleted-records": "4",
        "added-delete-files": "2",
        "added-position-delete-files": "2",
        "added-position-deletes": "4",
        # That of the first file is superseded; that of the third goes with its file.
        "removed-delete-files": "2",
        "removed-position-delete-files": "2",
        "removed-position-deletes": "3",
        "total-delete-files": "2",
        "total-position-deletes": "4",
        "total-equality-deletes": "0",
    }
    assert totals(table) == recounted(table)
    assert ids(table) == [1, 3, 6, 7, 8]


def test_after_many_snapshots_each_file_has_one_delete_file(table: LakeTable, store: Store) -> None:
    """And no delete file goes from storage while a snapshot needs it."""
    first, second, third = paths(table)
    for number in range(4):
        row_delta(table, {second: [number]} if number == 3 else {first: [number], second: [number]})
        assert totals(table) == recounted(table)
    deletes = live(table, ManifestContent.DELETES)
    assert sorted((entry.data_file.record_count, entry.sequence_number) for entry in deletes) == [(3, 6), (4, 7)]
    assert len(delete_manifests(table)) == 1
    orphans = table.sweep(store).find(older_than=timedelta(0), now=datetime.now(UTC) + FAR)
    assert not [orphan.key for orphan in orphans if orphan.key.endswith("-deletes.parquet")]
    assert [len(ids(table, of.id)) for of in table.snapshots()] == [5, 6, 8, 10, 12, 8, 4]
    # All snapshots but the last expire: of seven delete files two are left.
    assert len(stored(store)) == 7
    table.expire_snapshots(store, now=datetime.now(UTC) + FAR)
    assert stored(store) == sorted(entry.data_file.file_path.rpartition("/")[2] for entry in deletes)
    assert ids(table) == [4, *range(9, 13)]
    assert set(paths(table)) == {first, second, third}


def test_entries_of_a_delete_manifest(table: LakeTable) -> None:
    """Statuses and sequence numbers as the Iceberg spec wants them: what stays is as old as it was."""
    first, second, _ = paths(table)
    row_delta(table, {first: [0], second: [0]})
    row_delta(table, {first: [1]})
    (manifest,) = delete_manifests(table)
    entries = manifest.fetch_manifest_entry(opened(table).io, discard_deleted=False)
    told = {(one.status, one.sequence_number, one.file_sequence_number, one.data_file.record_count) for one in entries}
    assert told == {
        (ManifestEntryStatus.DELETED, 4, 4, 1),
        (ManifestEntryStatus.EXISTING, 4, 4, 1),
        (ManifestEntryStatus.ADDED, 5, 5, 2),
    }
    assert (manifest.min_sequence_number, manifest.sequence_number) == (4, 5)


@pytest.mark.parametrize("lost", ["a new one", "one that stays", "a superseded one that comes back"])
def test_a_snapshot_without_the_delete_files_it_must_have_is_not_committed(
    table: LakeTable, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    first, second, _ = paths(table)
    row_delta(table, {first: [0], second: [0]})
    before, honest = table.snapshots()[0].id, DeleteManifests.made

    def forgetful(self: DeleteManifests, manifests: Any, entries: Any, gone: Any, come: Any) -> Any:  # noqa: ANN401
        if lost == "a new one":
            come = ()
        elif lost == "one that stays":
            gone = {entry.data_file.file_path for listed in entries.values() for entry in listed}
        else:
            gone = set()
        return honest(self, manifests, entries, gone, come)

    monkeypatch.setattr(DeleteManifests, "made", forgetful)
    with pytest.raises(CommitError, match="would not hold") as refused:
        row_delta(table, {first: [1]})
    assert refused.value.expected == "2 delete files of 3 rows"
    monkeypatch.undo()
    assert table.snapshots()[0].id == before
    assert ids(table) == [*range(2, 5), *range(6, 13)]


def test_a_second_attempt_lands_right(table: LakeTable) -> None:
    """Another writer's rows are there, too, and the delete file is as old as the snapshot that lands."""
    first, *_ = paths(table)
    row_delta(table, {first: [0]})
    done = row_delta(
        table,
        {first: [1]},
        rows=things((2, 1, "new", 2)),
        # The snapshot is made from the table as it was; the catalog refuses it.
        meanwhile=lambda: table.append(things((13, 1, "other", 1)), run_key="other"),
    )
    assert done.retries == 1
    assert ids(table) == [*range(2, 14)]
    assert totals(table) == recounted(table)
    assert {entry.sequence_number for entry in live(table, ManifestContent.DELETES)} == {6}
    named = {manifest.manifest_path for manifest in delete_manifests(table)}
    folder = Path(next(iter(named)).removeprefix("file://")).parent
    assert len(list(folder.glob(f"*{done.snapshot_id}*.avro"))) == 1


def test_rows_that_another_writer_hides_meanwhile_are_a_conflict(table: LakeTable) -> None:
    """Else the superseded delete file would come back to life without the other's rows, or lose them."""
    first, second, _ = paths(table)
    with pytest.raises(CommitConflict):
        row_delta(table, {first: [1]}, meanwhile=lambda: row_delta(table, {first: [2]}))
    assert ids(table) == [1, 2, *range(4, 13)]
    row_delta(table, {first: [1]}, meanwhile=lambda: row_delta(table, {second: [2]}))
    assert ids(table) == [1, *range(4, 7), *range(8, 13)]
    assert totals(table) == recounted(table)


def test_hidden_rows_are_changes_of_their_day_only(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    """An updated row is one update, and rows of the same file that stay are none."""
    first, _, third = paths(table)
    start = table.snapshots()[0].id
    row_delta(table, {first: [1], third: [0]}, rows=things((2, 1, "new", 2), (40, 3, "new", 1)))
    with table.changes(start, key=("id",)) as changes:
        assert not changes.append_only
        read = changes.rows().read_all().to_pylist()
    told = sorted((row[CHANGE], row["id"], row["name"]) for row in read)
    assert told == [
        ("delete", 9, "old"),
        ("insert", 40, "new"),
        ("update_after", 2, "new"),
        ("update_before", 2, "old"),
    ]
    before = table.snapshots()[0].id
    table.compact([paths(table)[:2]], connection=duck)
    with table.changes(before, key=("id",)) as changes:
        assert changes.rows().read_all().num_rows == 0


def test_compaction_takes_the_rows_out_and_the_delete_files_away(
    table: LakeTable, duck: duckdb.DuckDBPyConnection
) -> None:
    first, second, third = paths(table)
    row_delta(table, {first: [1], second: [0], third: [0]})
    before = ids(table)
    table.compact([[first, second]], connection=duck)
    assert ids(table) == before
    (left,) = live(table, ManifestContent.DELETES)
    assert left.data_file.lower_bounds[PATH_FIELD_ID].decode() == third
    assert totals(table) == recounted(table)


@pytest.mark.parametrize("layout", ["day", "bucket[2]"])
def test_the_days_of_hidden_rows_are_changed(
    lake: Lake, orders: Table, rows: Callable[..., pa.Table], layout: str
) -> None:
    """Told by the delete file's partition, or else by the data file that it is about."""
    column = "order_date" if layout == "day" else "order_id"
    made = lake.create(replace(orders, partition_by=(PartitionField(column, layout),)))
    for number in (1, 2, 3):
        made.append(rows([number], date(2026, 1, number)), run_key=f"{number}")
    start = made.snapshots()[0].sequence_number
    first, second, _ = paths(made)
    row_delta(made, {first: [0], second: [0]})
    changed = made.changed_days(start)
    assert (changed.days, changed.complete) == ((date(2026, 1, 1), date(2026, 1, 2)), True)
    # A superseded delete file and a removed data file change their days, too.
    between = made.snapshots()[0].sequence_number
    row_delta(made, {second: [0]}, removed=[first])
    assert made.changed_days(between).days == (date(2026, 1, 1), date(2026, 1, 2))


def delete_manifests(table: LakeTable) -> list[ManifestFile]:
    of = opened(table)
    head = of.metadata.current_snapshot()
    return [one for one in (head.manifests(of.io) if head else ()) if one.content == ManifestContent.DELETES]


def stored(store: Store) -> list[str]:
    """The names of the delete files in storage."""
    names = (found.path.rpartition("/")[2] for found in store.list(""))
    return sorted(name for name in names if name.endswith("-deletes.parquet"))
