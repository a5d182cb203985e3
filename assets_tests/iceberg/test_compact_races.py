"""Writer against compaction (anchors.md 3.2): neither loses, and what is deleted stays deleted.

The other writer comes while a group is written and not committed yet, at the step that `progress` tells of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError
from lakehouse.iceberg import Compaction, CompactionStep, Lake, LakeTable, Phase, connect
from lakehouse.settings import Settings
from lakehouse.storage.paths import local_path
from lakehouse.tables import Table, TableName

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]
Act = Callable[[], object]
Hide = Callable[..., None]
Foreign = Callable[[TableName], IcebergTable]
Compact = Callable[..., Compaction]
D1, D2 = date(2026, 1, 1), date(2026, 1, 2)


@pytest.fixture
def rows(rows: Rows, plain: Table) -> Rows:
    return lambda *given, **named: rows(*given, **named).select([column.name for column in plain.columns])


@pytest.fixture
def table(any_lake: Lake, plain: Table, rows: Rows) -> LakeTable:
    """Two files of each of two days: orders 1, 2 and 3, 4; 11, 12 and 13, 14."""
    made = any_lake.create(plain)
    for first in (1, 3):
        made.append(rows([first, first + 1], D1), run_key=f"a{first}")
        made.append(rows([10 + first, 11 + first], D2), run_key=f"b{first}")
    return made


@pytest.fixture
def duck(any_settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(any_settings) as connection:
        yield connection


@pytest.fixture
def stock(table: LakeTable, foreign: Foreign) -> Callable[[], IcebergTable]:
    return lambda: foreign(table.name)


@pytest.fixture
def hide_in(stock: Callable[[], IcebergTable], hide: Hide) -> Callable[[str], None]:
    """hide_in(path): another program hides the first row of a file by a position delete."""
    return lambda path: hide(stock(), 0, of=path)


@pytest.fixture
def compact(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> Compact:
    """compact(act): both days, with something that happens when the first group is proved, before any commit."""

    def run(act: Act, **named: object) -> Compaction:
        def tell(step: CompactionStep) -> None:
            if (step.phase, step.group) == (Phase.PROVED, 1):
                act()

        groups = [paths(table, D1), paths(table, D2)]
        return table.compact(groups, connection=duck, progress=tell, **named)  # type: ignore[arg-type]  # as there

    return run


def paths(table: LakeTable, day: date) -> list[str]:
    return [file.path for file in table.live_files() if str(day) in file.partition]


def on_disk(table: LakeTable) -> set[Path]:
    """Data files in the table's folder, delete files left out."""
    folder = local_path(table.live_files()[0].path).parents[1]
    return {file for file in folder.rglob("*.parquet") if "deletes" not in file.name}


def test_a_concurrent_append_is_kept(table: LakeTable, compact: Compact, rows: Rows, ids: Ids) -> None:
    done = compact(lambda: table.append(rows([5], D1), run_key="late"))
    assert (done.groups, done.overtaken) == (2, 0)
    assert ids(table) == [1, 2, 3, 4, 5, 11, 12, 13, 14]
    assert (len(paths(table, D1)), len(paths(table, D2))) == (2, 1)


def test_a_row_deleted_meanwhile_does_not_come_back(table: LakeTable, compact: Compact, ids: Ids) -> None:
    """RisingWave iceberg-compaction #163, iceberg #10312: the deletes of a writer were lost to a compaction."""
    done = compact(lambda: table.delete("order_id = 2", run_key="late"))
    assert (done.groups, done.overtaken) == (1, 1)
    assert ids(table) == [1, 3, 4, 11, 12, 13, 14]
    # The other day's files were not in its way.
    assert (len(paths(table, D1)), len(paths(table, D2))) == (2, 1)


def test_a_position_delete_of_meanwhile_still_hides_its_row(
    table: LakeTable, compact: Compact, rows: Rows, hide_in: Callable[[str], None], ids: Ids
) -> None:
    """A later append must not hide it from the check: it is made against the base, not against the head's number."""
    victim = paths(table, D1)[0]

    def other() -> None:
        hide_in(victim)
        table.append(rows([5], D2), run_key="late")

    before = ids(table)
    done = compact(other)
    assert (done.groups, done.overtaken) == (1, 1)
    gone = set(before) - set(ids(table))
    assert len(gone) == 1
    assert gone < {1, 2, 3, 4}
    assert set(ids(table)) - set(before) == {5}


def test_an_equality_delete_of_meanwhile_still_hides_its_rows(
    table: LakeTable,
    compact: Compact,
    stock: Callable[[], IcebergTable],
    hide: Hide,
    duck: duckdb.DuckDBPyConnection,
) -> None:
    """Iceberg #10312: with the sequence number of its own snapshot, a compaction brought such rows back."""
    victim = paths(table, D1)[0]
    done = compact(lambda: hide(stock(), 2, of=victim, by_value=True))
    assert (done.groups, done.overtaken) == (1, 1)
    found = duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall()
    assert [number for (number,) in found] == [1, 3, 4, 11, 12, 13, 14]


def test_an_equality_delete_after_compaction_hides_rows_of_the_new_file(
    table: LakeTable, compact: Compact, stock: Callable[[], IcebergTable], hide: Hide, duck: duckdb.DuckDBPyConnection
) -> None:
    compact(lambda: None)
    (packed,) = paths(table, D1)
    hide(stock(), 2, of=packed, by_value=True)
    found = duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall()
    assert [number for (number,) in found] == [1, 3, 4, 11, 12, 13, 14]


def test_an_overwrite_of_meanwhile_stands(table: LakeTable, compact: Compact, rows: Rows, ids: Ids) -> None:
    done = compact(lambda: table.overwrite(rows([7], D1), where="order_date = '2026-01-01'", run_key="late"))
    assert (done.groups, done.overtaken, done.files_before) == (1, 1, 2)
    assert ids(table) == [7, 11, 12, 13, 14]


def test_another_compaction_of_the_same_files_wins(
    table: LakeTable, compact: Compact, duck: duckdb.DuckDBPyConnection, ids: Ids
) -> None:
    done = compact(lambda: table.compact([paths(table, D1), paths(table, D2)], connection=duck))
    assert (done.groups, done.overtaken, done.commits) == (0, 2, ())
    assert ids(table) == [1, 2, 3, 4, 11, 12, 13, 14]
    assert [len(paths(table, day)) for day in (D1, D2)] == [1, 1]


def test_what_was_overtaken_leaves_no_files_and_nobody_elses_go(table: LakeTable, compact: Compact) -> None:
    before = on_disk(table)
    compact(lambda: table.delete("order_id = 2", run_key="late"))
    # The files of before, which older snapshots have; the new one of the second day, and the deleting writer's.
    live = {local_path(file.path) for file in table.live_files()}
    assert live < on_disk(table)
    assert on_disk(table) == before | live


def test_groups_of_earlier_batches_stay_committed(table: LakeTable, compact: Compact, ids: Ids) -> None:
    done = compact(lambda: table.delete("order_id = 12", run_key="late"), batch_bytes=1)
    assert (done.groups, done.overtaken, len(done.commits)) == (1, 1, 1)
    assert [len(paths(table, day)) for day in (D1, D2)] == [1, 2]
    assert ids(table) == [1, 2, 3, 4, 11, 13, 14]


def test_a_writer_that_is_always_faster_is_left_in_peace(
    any_lake: Lake, plain: Table, duck: duckdb.DuckDBPyConnection, rows: Rows, ids: Ids
) -> None:
    """Compaction starves behind a hot writer (iceberg #12545): bounded attempts, and no file is left behind."""
    table = any_lake.create(replace(plain, name=TableName.parse("silver.hot")))
    for number in range(9):
        table.append(rows([number], D1), run_key=f"{number}")
    before = on_disk(table)
    hot = iter(range(9))

    def load() -> IcebergTable:
        loaded = table._load()  # noqa: SLF001  (what the lake gives to its tables)
        # Whatever is decided by this look is too late: a file of another group has gone.
        if (number := next(hot)) > 0:
            table.delete(f"order_id = {number - 1}", run_key=f"hot {number}")
        return loaded

    groups = [[file.path] for file in sorted(table.live_files(), key=lambda file: file.sequence)]
    done = LakeTable(table.name, load).compact(groups, connection=duck)
    assert (done.groups, done.overtaken, done.commits) == (0, 9, ())
    assert ids(table) == [6, 7, 8]
    assert on_disk(table) == before


def test_a_group_without_a_row_that_is_overtaken(
    table: LakeTable, compact: Compact, hide_in: Callable[[str], None], rows: Rows, ids: Ids
) -> None:
    """It has no new file: that none of them is missing does not say that it landed."""
    table.overwrite(rows([1], D1), where="order_date = '2026-01-01'", run_key="one")
    hide_in(paths(table, D1)[0])
    done = compact(lambda: table.overwrite(rows([7], D1), where="order_date = '2026-01-01'", run_key="late"))
    assert (done.groups, done.overtaken, done.files_before) == (1, 1, 2)
    assert ids(table) == [7, 11, 12, 13, 14]


def test_a_file_that_another_program_removed_after_replacing_it_is_no_error(
    table: LakeTable, duck: duckdb.DuckDBPyConnection, rows: Rows, ids: Ids
) -> None:
    first, second = paths(table, D1), paths(table, D2)

    def tell(step: CompactionStep) -> None:
        if (step.phase, step.group) == (Phase.WRITTEN, 1):
            table.overwrite(rows([7], D2), where="order_date = '2026-01-02'", run_key="late")
            local_path(second[0]).unlink()

    done = table.compact([first, second], connection=duck, progress=tell)
    assert (done.groups, done.overtaken) == (1, 1)
    assert ids(table) == [1, 2, 3, 4, 7]


def test_a_live_file_that_is_missing_is_an_error(table: LakeTable, duck: duckdb.DuckDBPyConnection) -> None:
    """Skipping it would be a loss that nobody hears of."""
    first, second = paths(table, D1), paths(table, D2)
    before = on_disk(table)
    head = table.snapshots()[0].id
    local_path(second[0]).unlink()
    with pytest.raises(CatalogError):
        table.compact([first, second], connection=duck)
    assert table.snapshots()[0].id == head
    assert on_disk(table) == before - {local_path(second[0])}
