"""One upkeep of one table, from its health to the record in `ops.upkeep`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.upkeep.left import data_files, recorded
from lakehouse.errors import TableMissing
from lakehouse.iceberg import Lake, LakeTable, read_summary
from lakehouse.ledger import UPKEEP
from lakehouse.settings import Settings
from lakehouse.storage import from_uri, local_path
from lakehouse.tables import Table, TableName
from lakehouse.upkeep import Action, Outcome, UpkeepReport, keep_up

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
LATER = timedelta(days=8)


def outcomes(report: UpkeepReport) -> dict[str, str]:
    return {action.value: report.outcome(action).value for action in report.seconds}


def test_small_files_become_one_and_nothing_else_changes(
    settings: Settings, lake: Lake, small: LakeTable, ids: Ids
) -> None:
    said: list[str] = []
    report = keep_up(settings, lake, small.name, run_id="run-1", progress=said.append)
    assert (report.before.files, report.after.files) == (6, 1)
    assert (report.before.rows, report.after.rows) == (6, 6)
    assert report.troubles == report.refused == ()
    assert outcomes(report) == {"compact": "done", "expire": "nothing", "orphans": "nothing"}
    assert ids(small) == list(range(6))
    assert small.progress("shop") == {"w": 5}
    assert small.snapshots()[0].operation == "replace"
    assert any("6 files" in line and "became 1" in line and "6 rows proved equal" in line for line in said)
    # Nothing was old enough to go: readers of before still find their files.
    assert len(data_files(small)) == 7


def test_what_was_packed_stays_and_old_snapshots_go_with_their_files(
    settings: Settings, lake: Lake, small: LakeTable, ids: Ids
) -> None:
    keep_up(settings, lake, small.name, run_id="run-1")
    packed = small.live_files()
    report = keep_up(settings, lake, small.name, run_id="run-2", now=datetime.now(UTC) + LATER)
    assert outcomes(report) == {"compact": "nothing", "expire": "done", "orphans": "nothing"}
    assert small.live_files() == packed
    assert (report.before.snapshots, report.after.snapshots) == (7, 1)
    assert report.files_deleted >= 6
    assert [str(path) for path in data_files(small)] == [str(local_path(from_uri(packed[0].path)))]
    assert ids(small) == list(range(6))
    assert small.progress("shop") == {"w": 5}
    assert keep_up(settings, lake, small.name, run_id="run-3", now=datetime.now(UTC) + LATER).plan.nothing


def test_each_run_is_recorded_once_an_action_in_one_snapshot(settings: Settings, lake: Lake, small: LakeTable) -> None:
    report = keep_up(settings, lake, small.name, run_id="run-1")
    entries = recorded(lake)
    assert [(entry["action"], entry["outcome"], entry["run_id"]) for entry in entries] == [
        ("compact", "done", "run-1"),
        ("expire", "nothing", "run-1"),
        ("orphans", "nothing", "run-1"),
    ]
    assert report.compaction is not None
    (compacted, *others) = entries
    assert (compacted["groups"], compacted["rows_proved"]) == (1, 6)
    assert compacted["row_hash"] == report.compaction.row_hash
    assert compacted["detail"] == "6 files became 1"
    assert {entry["row_hash"] for entry in others} == {None}
    for entry in entries:
        assert (entry["files_before"], entry["files_after"]) == (6, 1)
        assert (entry["bytes_before"], entry["bytes_after"]) == (report.before.bytes, report.after.bytes)
        assert (entry["snapshots_before"], entry["snapshots_after"], entry["rows"]) == (6, 7, 6)
        assert entry["table_name"] == str(small.name)
    assert len(lake.table(UPKEEP.name).snapshots()) == 1
    # Another attempt of the same run did something else, and says so.
    keep_up(settings, lake, small.name, run_id="run-1")
    assert len(recorded(lake)) == 6


def test_a_dry_run_changes_and_records_nothing(settings: Settings, lake: Lake, small: LakeTable) -> None:
    before, files = small.snapshots(), data_files(small)
    said: list[str] = []
    report = keep_up(
        settings, lake, small.name, run_id="run-1", dry_run=True, now=datetime.now(UTC) + LATER, progress=said.append
    )
    assert (len(report.plan.groups), len(report.plan.expiry.snapshots)) == (1, 5)
    assert (report.compaction, report.expiry, report.after) == (None, None, report.before)
    assert report.orphans is not None
    assert report.orphans.dry_run
    assert any("6 files in 1 group to rewrite" in line for line in said)
    assert (small.snapshots(), data_files(small)) == (before, files)
    assert recorded(lake) == []


@pytest.mark.parametrize("action", list(Action))
def test_one_action_alone(settings: Settings, lake: Lake, small: LakeTable, action: Action) -> None:
    now = datetime.now(UTC) + LATER
    report = keep_up(settings, lake, small.name, run_id="run-1", actions=[action], now=now)
    assert list(report.seconds) == [action]
    assert report.after.files == (1 if action is Action.COMPACT else 6)
    assert report.after.snapshots == {Action.COMPACT: 7, Action.EXPIRE: 1, Action.ORPHANS: 6}[action]
    assert [entry["action"] for entry in recorded(lake)] == [action.value]


def test_files_that_nobody_names_go_after_two_looks(settings: Settings, lake: Lake, small: LakeTable) -> None:
    stray = data_files(small)[0].parent / "stray.parquet"
    stray.write_bytes(b"of a writer that died")
    first = datetime.now(UTC) + timedelta(days=4)
    for number, now in enumerate((first, first + timedelta(days=1), first + timedelta(days=4))):
        assert stray.exists()
        report = keep_up(settings, lake, small.name, run_id=f"run-{number}", now=now)
        assert report.orphans is not None
    assert not stray.exists()
    assert (report.orphans.removed, report.files_deleted >= 1) == (1, True)
    assert report.outcome(Action.ORPHANS) is Outcome.DONE


def test_an_action_that_fails_is_told_and_the_others_are_done(settings: Settings, lake: Lake, small: LakeTable) -> None:
    """A broken data file must not keep a table's history growing: each action is a promise of its own."""
    old = small.live_files()[0]
    local_path(from_uri(old.path)).write_bytes(b"no parquet")
    now = datetime.now(UTC) + LATER
    said: list[str] = []
    report = keep_up(settings, lake, small.name, run_id="run-1", now=now, progress=said.append)
    assert outcomes(report) == {"compact": "failed", "expire": "done", "orphans": "nothing"}
    (trouble,) = report.troubles
    assert trouble.startswith("compact: ")
    assert "Parquet" in trouble
    assert any("compact failed" in line for line in said)
    assert report.after.files == 6
    assert report.after.snapshots == 1
    (compacted, *_) = recorded(lake)
    assert (compacted["outcome"], f"compact: {compacted['detail']}") == ("failed", trouble)


@pytest.fixture
def under_deletes(
    any_lake: Lake, flat: Table, rows: Rows, foreign: Callable[[TableName], IcebergTable], hide: Callable[..., None]
) -> LakeTable:
    """A table of six small files; another program has deleted the row of the first by its value."""
    table = any_lake.create(flat)
    table.append(rows([100]), run_key="a")
    hide(foreign(flat.name), 100, by_value=True)
    for number in range(5):
        table.append(rows([number]), run_key=f"b{number}")
    return table


def test_deletes_by_value_are_refused_and_the_rest_is_packed(
    any_settings: Settings, any_lake: Lake, under_deletes: LakeTable
) -> None:
    """iceberg-python cannot apply them: a rewrite would bring the deleted rows back."""
    report = keep_up(any_settings, any_lake, under_deletes.name, run_id="run-1")
    assert report.after.files == 2
    assert report.troubles == ()
    (refused,) = report.refused
    assert "equality deletes" in refused
    assert report.outcome(Action.COMPACT) is Outcome.REFUSED
    with_deletes = [file for file in under_deletes.live_files() if file.equality_deletes]
    assert [file.rows for file in with_deletes] == [1]


def test_what_a_consumer_has_not_read_survives_the_expiry(
    settings: Settings, lake: Lake, small: LakeTable, orders: Table, rows: Rows
) -> None:
    read = small.snapshots()[2].id
    lake.create(orders).append(rows([1]), run_key="m", summary=read_summary({small.name: read}))
    keep_up(settings, lake, small.name, run_id="run-1", now=datetime.now(UTC) + LATER)
    with small.changes(read) as changes:
        assert sorted(changes.rows().read_all()["order_id"].to_pylist()) == [4, 5]
    assert [snapshot.id for snapshot in small.snapshots()][-1] == read


def test_the_lakes_own_tables_are_kept_up_too(settings: Settings, lake: Lake, small: LakeTable) -> None:
    for number in range(6):
        keep_up(settings, lake, small.name, run_id=f"run-{number}", actions=[Action.EXPIRE])
    before = len(recorded(lake))
    report = keep_up(settings, lake, UPKEEP.name, run_id="run-own")
    assert (report.before.files, report.after.files) == (6, 1)
    assert len(recorded(lake)) == before + 3


def test_a_table_that_is_not_there_is_an_error(settings: Settings, lake: Lake) -> None:
    with pytest.raises(TableMissing):
        keep_up(settings, lake, TableName.parse("silver.nothing"), run_id="run-1")
    assert recorded(lake) == []


def test_a_table_without_rows_needs_nothing(settings: Settings, lake: Lake, orders: Table) -> None:
    lake.create(orders)
    report = keep_up(settings, lake, orders.name, run_id="run-1")
    assert set(outcomes(report).values()) == {"nothing"}


def test_nothing_is_left_to_spill_into(settings: Settings, lake: Lake, small: LakeTable) -> None:
    keep_up(settings, lake, small.name, run_id="run-1")
    assert [path.name for path in (settings.state / "upkeep").iterdir()] == ["places.json"]


def test_it_works_on_every_catalog_and_storage(
    everywhere: Settings, flat: Table, rows: Rows, ids: Ids, named: Callable[[Table], Table]
) -> None:
    lake = Lake.open(everywhere)
    table = lake.create(named(replace(flat, window_column=None)))
    for number in range(6):
        table.append(rows([number]), run_key=f"a{number}")
    report = keep_up(everywhere, lake, table.name, run_id="run-1", now=datetime.now(UTC) + LATER)
    assert (report.after.files, report.after.snapshots, report.troubles) == (1, 1, ())
    assert report.files_deleted >= 6
    assert ids(table) == list(range(6))
