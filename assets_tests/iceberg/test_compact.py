"""Compaction: the same rows in fewer files, and nobody notices but who counts files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from lakehouse.errors import BranchMissing, CommitError
from lakehouse.iceberg import Compaction, CompactionStep, Lake, LakeTable, Phase
from lakehouse.storage.paths import local_path
from lakehouse.tables import Table, TableName

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Compact = Callable[..., Compaction]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


@pytest.fixture
def rows(rows: Rows, plain: Table) -> Rows:
    return lambda *given, **named: rows(*given, **named).select([column.name for column in plain.columns])


@pytest.fixture
def table(lake: Lake, plain: Table, rows: Rows) -> LakeTable:
    """Six files: orders 1, 2, 3 of one day and 11, 12, 13 of the next, in turn."""
    table = lake.create(plain)
    for number in (1, 2, 3):
        table.append(rows([number], D1), run_key=f"a{number}", progress={"shop": {"w": number}})
        table.append(rows([10 + number], D2), run_key=f"b{number}")
    return table


@pytest.fixture
def compact(duck: duckdb.DuckDBPyConnection) -> Compact:
    """compact(table, *days): the files of each day together, by default of both."""

    def run(table: LakeTable, *days: date, **named: object) -> Compaction:
        groups = [paths(table, day) for day in days or (D1, D2)]
        return table.compact(groups, connection=duck, **named)  # type: ignore[arg-type]  # named as there

    return run


def paths(table: LakeTable, day: date | None = None) -> list[str]:
    return [file.path for file in table.live_files() if day is None or str(day) in file.partition]


def shown(table: LakeTable) -> list[dict[str, object]]:
    return list(table.scan().read_all().sort_by("order_id").to_pylist())


def test_each_group_becomes_one_file_of_the_same_rows(table: LakeTable, compact: Compact) -> None:
    before, bytes_before = shown(table), sum(file.bytes for file in table.live_files())
    head = table.snapshots()[0]
    done = compact(table, summary={"lakehouse.upkeep": "night"})
    assert shown(table) == before
    files = table.live_files()
    assert [(file.partition, file.rows, file.current_spec) for file in files] == [
        ("order_date_day=2026-01-01", 3, True),
        ("order_date_day=2026-01-02", 3, True),
    ]
    assert (done.groups, done.overtaken, done.refused) == (2, 0, ())
    assert (done.files_before, done.files_after, done.rows) == (6, 2, 6)
    assert (done.bytes_before, done.bytes_after) == (bytes_before, sum(file.bytes for file in files))
    (commit,) = done.commits
    assert (commit.operation, commit.parent_id, commit.rows_rewritten) == ("replace", head.id, 6)
    assert (commit.rows_added, commit.rows_removed, commit.files_added, commit.files_removed) == (0, 0, 2, 6)
    newest = table.snapshots()[0]
    assert newest.summary["lakehouse.upkeep"] == "night"
    proof = {"read": 6, "kept": 6, "removed": 0, "whole": 0, "hash": done.row_hash}
    assert json.loads(newest.summary["lakehouse.proof"]) == proof
    assert int(done.row_hash) > 0


def test_a_file_is_as_old_as_the_youngest_that_it_replaces(table: LakeTable, compact: Compact) -> None:
    """Each group by its own: the third append of a day, not the last of the table."""
    sequences = {snapshot.id: snapshot.sequence_number for snapshot in table.snapshots()}
    compact(table)
    assert {file.partition[-2:]: file.sequence for file in table.live_files()} == {"01": 5, "02": 6}
    assert all(file.packed for file in table.live_files())
    assert sorted(sequences.values()) == [1, 2, 3, 4, 5, 6]


def test_readers_of_changes_find_nothing_new(table: LakeTable, rows: Rows, compact: Compact) -> None:
    """I-g: maintenance never changes the rows; and a day that was consumed is not consumed again."""
    past = table.snapshots()
    compact(table)
    with table.changes(past[0].id, key=("order_id",)) as changes:
        assert changes.rows().read_all().num_rows == 0
    assert table.changed_days(past[0].sequence_number).days == ()
    assert table.changed_days(past[1].sequence_number).days == (D2,)
    table.append(rows([4], D1), run_key="late")
    with table.changes(past[0].id, key=("order_id",)) as changes:
        assert changes.rows().read_all()["order_id"].to_pylist() == [4]
    assert table.changed_days(past[0].sequence_number).days == (D1,)


def test_progress_and_run_keys_are_as_before(table: LakeTable, rows: Rows, compact: Compact, ids: Ids) -> None:
    compact(table)
    assert table.progress("shop") == {"w": 3}
    assert table.append(rows([1], D1), run_key="a1").already_done
    assert ids(table) == [1, 2, 3, 11, 12, 13]


def test_the_past_can_still_be_read(table: LakeTable, compact: Compact) -> None:
    head = table.snapshots()[0].id
    old = paths(table)
    before = shown(table)
    compact(table)
    assert list(table.scan(at=head).read_all().sort_by("order_id").to_pylist()) == before
    assert all(local_path(path).exists() for path in old)


def test_batches_are_committed_one_by_one(table: LakeTable, compact: Compact) -> None:
    steps: list[CompactionStep] = []
    done = compact(table, batch_bytes=1, progress=steps.append)
    assert [commit.files_added for commit in done.commits] == [1, 1]
    assert [(step.phase, step.group, step.groups, step.rows) for step in steps] == [
        (phase, group, 2, 3) for group in (1, 2) for phase in (Phase.WRITTEN, Phase.PROVED, Phase.COMMITTED)
    ]
    assert {step.table for step in steps} == {TableName.parse("silver.orders")}
    assert [step.files[0] for step in steps[::3]] == paths(table)[::-1]
    hashes = [json.loads(snapshot.summary["lakehouse.proof"])["hash"] for snapshot in table.snapshots()[:2]]
    assert int(done.row_hash) == sum(map(int, hashes))


def test_one_batch_is_one_snapshot(table: LakeTable, compact: Compact) -> None:
    steps: list[Phase] = []
    compact(table, progress=lambda step: steps.append(step.phase))
    assert steps == [*[Phase.WRITTEN, Phase.PROVED] * 2, *[Phase.COMMITTED] * 2]


def test_what_was_packed_can_be_packed_again(table: LakeTable, rows: Rows, compact: Compact, ids: Ids) -> None:
    first = compact(table, D1)
    table.append(rows([4], D1), run_key="4")
    second = compact(table, D1)
    assert (first.files_before, second.files_before, len(paths(table, D1))) == (3, 2, 1)
    assert (second.rows, ids(table)) == (4, [1, 2, 3, 4, 11, 12, 13])


def test_nothing_asked_is_nothing_done(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    head = table.snapshots()[0].id
    for groups in ([], [[], ()]):
        done = table.compact(groups, connection=duck)
        assert (done.commits, done.groups, done.row_hash) == ((), 0, "0")
    assert table.snapshots()[0].id == head


def test_an_empty_table_has_no_such_files(lake: Lake, flat: Table, duck: duckdb.DuckDBPyConnection) -> None:
    done = lake.create(flat).compact([["file:///nowhere.parquet"]], connection=duck)
    assert (done.overtaken, done.commits) == (1, ())


def test_files_that_are_not_there_any_more_are_left_to_the_next_plan(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    first, second = paths(table, D1), paths(table, D2)
    table.delete("order_id = 1", run_key="o")
    done = table.compact([first, second], connection=duck)
    assert (done.groups, done.overtaken) == (1, 1)
    assert ids(table) == [2, 3, 11, 12, 13]
    assert len(paths(table, D2)) == 1


def test_a_file_in_two_groups_is_a_mistake(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    files = paths(table, D1)
    head = table.snapshots()[0].id
    with pytest.raises(CommitError, match="two groups"):
        table.compact([files, files[:1]], connection=duck)
    assert table.snapshots()[0].id == head


def test_a_file_named_twice_in_its_group_is_read_once(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    done = table.compact([paths(table) * 2], connection=duck)
    assert (done.files_before, ids(table)) == (6, [1, 2, 3, 11, 12, 13])


def test_a_group_over_partitions_becomes_a_file_of_each(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    done = table.compact([paths(table)], connection=duck)
    assert (done.groups, done.files_after) == (1, 2)
    assert [file.rows for file in table.live_files()] == [3, 3]
    assert ids(table) == [1, 2, 3, 11, 12, 13]


def test_branches_keep_their_files(table: LakeTable, rows: Rows, compact: Compact, ids: Ids) -> None:
    table.create_branch("run/b")
    table.append(rows([4], D1), run_key="b", branch="run/b")
    compact(table)
    assert ids(table, "run/b") == [1, 2, 3, 4, 11, 12, 13]
    # A proved rewrite needs no new audit.
    table.publish("run/b")
    assert ids(table) == [1, 2, 3, 4, 11, 12, 13]
    with pytest.raises(BranchMissing):
        ids(table, "run/b")
    assert len(paths(table)) == 3


def test_a_connection_keeps_what_is_in_it_and_the_settings_of_a_writer(
    table: LakeTable, compact: Compact, duck: duckdb.DuckDBPyConnection
) -> None:
    def state() -> set[tuple[str, str]]:
        return set(duck.execute("SELECT name, value FROM duckdb_settings()").fetchall())

    duck.execute("CREATE TABLE mine AS SELECT 1 AS one")
    before = state()
    compact(table)
    # Put back, they would change under another cursor of the same database that writes.
    changed = {name for name, _ in state() ^ before}
    assert "preserve_insertion_order" in changed
    assert changed <= {"preserve_insertion_order", "s3_uploader_max_filesize", "s3_uploader_thread_limit"}
    assert duck.execute("SELECT * FROM mine").fetchall() == [(1,)]
    assert duck.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall() == []
