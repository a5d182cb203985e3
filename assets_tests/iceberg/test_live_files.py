"""What a table consists of, from its metadata alone; other programs' delete files and older partitionings too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import BranchMissing
from lakehouse.iceberg import Holdings, Lake, LakeTable, ManifestStats
from lakehouse.settings import Settings
from lakehouse.storage import from_uri, local_path
from lakehouse.tables import PartitionField, Table, TableName, Upkeep

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]


def test_a_table_that_was_never_written_to_has_no_files(any_lake: Lake, orders: Table) -> None:
    table = any_lake.create(orders)
    assert table.live_files() == ()
    assert table.manifests() == ManifestStats()
    assert table.holdings() == Holdings(0, None, 0, 0, 0, 128 * 2**20)


def test_each_file_tells_its_partition_rows_and_bytes(any_lake: Lake, orders: Table, rows: Rows) -> None:
    table = any_lake.create(orders)
    table.append(pa.concat_tables([rows([1, 2], date(2026, 1, 1)), rows([3], date(2026, 1, 2))]), run_key="a")
    table.append(rows([4], date(2026, 1, 2)), run_key="b")
    found = sorted(table.live_files(), key=lambda file: (file.sequence, file.partition))
    assert [(file.partition, file.rows, file.sequence) for file in found] == [
        ("order_date_day=2026-01-01", 2, 1),
        ("order_date_day=2026-01-02", 1, 1),
        ("order_date_day=2026-01-02", 1, 2),
    ]
    for file in found:
        assert local_path(from_uri(file.path)).stat().st_size == file.bytes
        assert (file.current_spec, file.packed, file.delete_files, file.equality_deletes) == (True, False, 0, False)
    stats = table.manifests()
    assert (stats.count, stats.delete_manifests, stats.delete_files) == (2, 0, 0)
    assert stats.bytes > 0


def test_removed_files_are_not_told_and_branches_have_their_own(any_lake: Lake, flat: Table, rows: Rows) -> None:
    table = any_lake.create(flat)
    table.append(rows([1]), run_key="a")
    table.create_branch("run/x")
    table.overwrite(rows([2, 3]), where=None, run_key="b", branch="run/x")
    assert [file.rows for file in table.live_files()] == [1]
    assert [file.rows for file in table.live_files("run/x")] == [2]
    with pytest.raises(BranchMissing):
        table.live_files("run/y")
    with pytest.raises(BranchMissing):
        table.manifests("run/y")


@pytest.fixture
def one_file(any_lake: Lake, flat: Table, rows: Rows) -> LakeTable:
    """A table with ten rows in a file."""
    table = any_lake.create(flat)
    table.append(rows(range(10)), run_key="a")
    return table


def test_position_deletes_of_another_program_are_seen_on_their_file(
    one_file: LakeTable, rows: Rows, foreign: Foreign, hide: Callable[..., None]
) -> None:
    (file,) = one_file.live_files()
    one_file.append(rows([10]), run_key="b")
    hide(foreign(one_file.name), 0, of=file.path)
    hide(foreign(one_file.name), 1, of=file.path)
    (hidden,) = (found for found in one_file.live_files() if found.path == file.path)
    assert hidden == replace(file, sequence=4, delete_files=2, deleted_rows=2)
    (other,) = (found for found in one_file.live_files() if found.path != file.path)
    assert (other.delete_files, other.sequence) == (0, 2)
    assert (one_file.manifests().delete_manifests, one_file.manifests().delete_files) == (2, 2)


def test_more_deletes_than_rows_count_as_all_rows(
    any_lake: Lake, flat: Table, rows: Rows, foreign: Foreign, hide: Callable[..., None]
) -> None:
    table = any_lake.create(flat)
    table.append(rows([1]), run_key="a")
    for _ in range(3):
        hide(foreign(table.name), 0)
    (file,) = table.live_files()
    assert (file.rows, file.delete_files, file.deleted_rows) == (1, 3, 1)


def test_equality_deletes_are_told_and_count_for_no_rows(
    one_file: LakeTable, rows: Rows, foreign: Foreign, hide: Callable[..., None]
) -> None:
    hide(foreign(one_file.name), 3, by_value=True)
    one_file.append(rows([10]), run_key="b")
    under = {file.rows: (file.equality_deletes, file.delete_files) for file in one_file.live_files()}
    assert under == {10: (True, 0), 1: (False, 0)}


def test_a_rewritten_file_is_packed_and_as_old_as_its_rows(one_file: LakeTable, rows: Rows) -> None:
    one_file.append(rows([10]), run_key="b")
    one_file.append(rows([11]), run_key="c")
    old = [file.path for file in one_file.live_files() if file.sequence < 3]
    one_file.replace_files(old, rows(range(11)), run_key="d")
    found = {file.rows: (file.packed, file.sequence) for file in one_file.live_files()}
    assert found == {11: (True, 2), 1: (False, 3)}
    # What becomes of other files is nothing to it.
    one_file.overwrite(rows([11]), where="order_id = 11", run_key="e")
    assert {file.rows: (file.packed, file.sequence) for file in one_file.live_files()}[11] == (True, 2)


def test_a_delete_file_of_before_does_not_lie_on_the_file_that_took_its_rows_out(
    one_file: LakeTable, rows: Rows, foreign: Foreign, hide: Callable[..., None]
) -> None:
    """A delete file of another program may be about files of any name; that it is as old as a rewritten file says
    nothing: a planner that counted it would rewrite that file every night."""
    (file,) = one_file.live_files()
    hide(foreign(one_file.name), 0, of=file.path, anybody=True)
    (under,) = one_file.live_files()
    assert (under.delete_files, under.deleted_rows) == (1, 1)
    one_file.replace_files([file.path], rows(range(1, 10)), run_key="b")
    assert one_file.manifests().delete_files == 1, "the delete file stays: it may be about other files"
    (after,) = one_file.live_files()
    assert (after.packed, after.sequence, after.delete_files, after.deleted_rows) == (True, 2, 0, 0)


def test_files_of_an_older_partitioning_are_told_apart(any_lake: Lake, orders: Table, rows: Rows) -> None:
    table = any_lake.create(orders)
    table.append(rows([1]), run_key="a")
    any_lake.create(replace(orders, partition_by=(PartitionField("order_id", "bucket[4]"),)))
    table.append(rows([1]), run_key="b")
    old, new = sorted(table.live_files(), key=lambda file: file.sequence)
    assert (old.partition, old.current_spec) == ("0:order_date_day=2026-01-01", False)
    assert new.current_spec
    assert not new.partition.startswith("0:")


def test_a_partitioning_by_a_column_that_is_gone_has_its_folders(
    any_lake: Lake, flat: Table, rows: Rows, foreign: Foreign
) -> None:
    """Another program may drop such a column; ours does not."""
    table = any_lake.create(replace(flat, partition_by=(PartitionField("amount", "identity"),)))
    table.append(rows([4]), run_key="a")
    theirs = foreign(table.name)
    with theirs.update_spec() as spec:
        spec.remove_field("amount")
    with theirs.update_schema() as schema:
        schema.delete_column("amount")
    assert "amount" not in table.schema().names
    (file,) = table.live_files()
    assert (file.partition, file.current_spec) == ("0:amount=1.00", False)


def test_holdings_count_refs_by_what_they_are(any_lake: Lake, flat: Table, rows: Rows) -> None:
    table = any_lake.create(replace(flat, upkeep=Upkeep(target_file_mb=7)))
    table.append(rows([1]), run_key="a")
    table.append(rows([2]), run_key="b")
    table.create_branch("run/x")
    table.tag("month-end")
    with table.lease(max_age=timedelta(hours=1)):
        held = table.holdings()
    assert (held.snapshots, held.branches, held.tags, held.leases) == (2, 1, 1, 1)
    assert held.oldest_snapshot_at == table.snapshots()[-1].committed_at
    assert held.target_file_bytes == 7 * 2**20
    assert table.holdings().leases == 0


def test_it_is_the_same_on_every_catalog_and_storage(
    everywhere: Settings, orders: Table, rows: Rows, named: Callable[[Table], Table]
) -> None:
    table = Lake.open(everywhere).create(named(orders))
    table.append(rows([1, 2]), run_key="a")
    (file,) = table.live_files()
    assert (file.partition, file.rows, file.current_spec) == ("order_date_day=2026-01-01", 2, True)
    assert table.manifests().count == 1
    assert table.holdings().snapshots == 1
