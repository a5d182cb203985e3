"""The last write of a table, out of its own history: which run, which days, and what does not count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from assets_tests.kiosk import SALES, TAKINGS, january
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ledger import LoadRecord, record_load
from lakehouse.orchestration.why_last import LastWrite, last_write
from lakehouse.tables import Column, PartitionField, Strategy, Table, Window

RUN, OTHER = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"
COLUMNS = (Column("day", "date", required=True), Column("cents", "long"))
TABLE = Table(
    TAKINGS,
    "kiosk",
    "",
    COLUMNS,
    Path("takings.yaml"),
    partition_by=(PartitionField("day", "day"),),
    window_column="day",
    window_start=january(1),
    strategy=Strategy.OVERWRITE,
)


@pytest.fixture
def takings(lake: Lake) -> LakeTable:
    return lake.create(TABLE)


def build(takings: LakeTable, first: int, last: int, run_key: str, branch: str = "main") -> None:
    """A row a day."""
    rows = [{"day": january(day), "cents": day} for day in range(first, last + 1)]
    content = pa.Table.from_pylist(rows, schema=takings.schema())
    window = Window.of_days(january(first), january(last))
    takings.overwrite(content, where=window, run_key=run_key, branch=branch)


def told(lake: Lake, table: Table = TABLE) -> LastWrite:
    found = last_write(lake, table)
    assert found is not None
    return found


def span(first: int, last: int) -> tuple[Window, ...]:
    return (Window.of_days(january(first), january(last)),)


def test_a_table_that_nobody_wrote_to_has_none(lake: Lake) -> None:
    assert last_write(lake, TABLE) is None
    lake.create(TABLE)
    assert last_write(lake, TABLE) is None


def test_the_last_run_and_its_days_are_told(lake: Lake, takings: LakeTable) -> None:
    build(takings, 1, 9, f"{OTHER}:models")
    build(takings, 3, 4, f"{RUN}:models")
    last = told(lake)
    assert (last.run_id, last.days, last.newest_day, last.rows) == (RUN, span(3, 4), january(9), 9)
    assert (last.snapshot_id, last.at) == (takings.snapshots()[0].id, takings.snapshots()[0].committed_at)


def test_the_slices_of_a_run_are_one_write(lake: Lake, takings: LakeTable) -> None:
    build(takings, 1, 2, f"{OTHER}:models")
    build(takings, 3, 5, f"{RUN}:models:2026-01-03..2026-01-06")
    build(takings, 6, 7, f"{RUN}:models:2026-01-06..2026-01-08")
    assert (told(lake).run_id, told(lake).days) == (RUN, span(3, 7))


def test_a_compaction_is_no_write(lake: Lake, takings: LakeTable) -> None:
    build(takings, 1, 2, f"{RUN}:models")
    written = told(lake)
    files = [file.path for file in takings.live_files()]
    takings.replace_files(files, takings.scan().read_all(), run_key="packed")
    assert takings.snapshots()[0].operation == "replace"
    assert told(lake) == written


def test_days_that_were_published_of_a_branch_are_of_its_run(lake: Lake, takings: LakeTable) -> None:
    build(takings, 1, 6, f"{OTHER}:models")
    branch = f"run/{RUN[:8]}-models"
    takings.create_branch(branch)
    build(takings, 3, 5, f"{RUN}:models", branch)
    takings.publish_windows(branch, [Window.of_days(january(4), january(4))])
    assert (told(lake).run_id, told(lake).days) == (RUN[:8], span(4, 4))
    takings.create_branch("mine")
    build(takings, 1, 2, "by hand", "mine")
    takings.publish_windows("mine", [Window.of_days(january(1), january(1))])
    assert (told(lake).run_id, told(lake).days) == (None, span(1, 1))


def test_what_no_run_wrote_has_no_run(lake: Lake, takings: LakeTable) -> None:
    build(takings, 1, 2, "nightly")
    assert (told(lake).run_id, told(lake).days) == (None, span(1, 2))


def test_the_run_of_a_load_is_in_the_ledger(lake: Lake) -> None:
    table = replace(TABLE, name=SALES)
    stored = lake.create(table)
    rows = [{"day": january(2), "cents": 1, "_extracted_at": datetime.now(UTC), "_source": "x", "_run_key": "k"}]
    stored.append(pa.Table.from_pylist(rows, schema=stored.schema()), run_key="k")
    assert told(lake, table).run_id is None
    snapshot = stored.snapshots()[0].id
    record_load(lake, LoadRecord(SALES, "k", RUN, datetime.now(UTC), 0.1, 1, 1, 0, 0, 9, None, {"w": 1}, snapshot))
    last = told(lake, table)
    assert (last.run_id, last.days, last.newest_day) == (RUN, span(2, 2), january(2))


def test_a_table_without_days_has_none(lake: Lake) -> None:
    table = replace(TABLE, window_column=None, window_start=None, partition_by=())
    stored = lake.create(table)
    stored.append(
        pa.Table.from_pylist([{"day": january(1), "cents": 1}], schema=stored.schema()), run_key=f"{RUN}:models"
    )
    assert (told(lake, table).days, told(lake, table).newest_day, told(lake, table).run_id) == ((), None, RUN)
