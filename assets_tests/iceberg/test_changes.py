"""Changes between snapshots: the net effect, exactly, whichever way the files went."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.stored import paths
from lakehouse.errors import QueryError, SnapshotMissing
from lakehouse.iceberg import CHANGE, Changes, Lake, LakeTable
from lakehouse.iceberg.reads.scan import state_at
from lakehouse.tables import Column, Table, TableName, Window

Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
KEY = ("order_id",)
D1, D2, D3 = (date(2026, 1, number) for number in (1, 2, 3))


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Orders 1 to 4 on the first day, 5 on the second."""
    table = lake.create(orders)
    table.append(rows([1, 2, 3, 4], D1), run_key="1")
    table.append(rows([5], D2), run_key="2")
    return table


def head(table: LakeTable) -> int:
    return table.snapshots()[0].id


def seen(changes: Changes) -> list[tuple[str, int]]:
    """(change, order id), in the order of the answer."""
    with changes:
        read = changes.rows().read_all()
    assert read.column_names[0] == CHANGE
    return list(zip(read[CHANGE].to_pylist(), read["order_id"].to_pylist(), strict=True))


def test_nothing_changed(table: LakeTable) -> None:
    changes = table.changes(head(table), key=KEY)
    assert changes.append_only
    assert seen(changes) == []
    assert (changes.days, changes.counts()) == ((), {"insert": 0, "delete": 0, "update": 0})


def test_an_append_is_inserts_and_reads_its_own_files_only(
    table: LakeTable, rows: Rows, foreign: Foreign, orders: Table
) -> None:
    since = head(table)
    for path in paths(foreign(orders.name)):
        Path(path.removeprefix("file://")).unlink()
    table.append(rows([6, 7], D3), run_key="3")
    changes = table.changes(since)
    assert changes.append_only
    assert sorted(seen(changes)) == [("insert", 6), ("insert", 7)]
    assert changes.days == (D3,)
    assert changes.counts() == {"insert": 2, "delete": 0, "update": 0}


def test_copy_on_write_cancels_what_it_carries_along(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    # Order 2 gets another amount, 3 goes, 4 moves to the third day, 9 is new; 1 and 5 are written anew as they were.
    table.overwrite(
        pa.concat_tables(
            [rows([1], D1), rows([2], D1, amount=[Decimal(7)]), rows([4], D3), rows([5], D2), rows([9], D3)]
        ),
        where=None,
        run_key="3",
    )
    with table.changes(since, key=KEY) as changes:
        assert not changes.append_only
        assert changes.counts() == {"insert": 1, "delete": 1, "update": 2}
        assert seen(changes) == [
            ("update_before", 2),
            ("update_after", 2),
            ("delete", 3),
            ("update_before", 4),
            ("update_after", 4),
            ("insert", 9),
        ]
        images = {row[CHANGE]: row for row in changes.rows().read_all().to_pylist() if row["order_id"] == 2}
        assert (images["update_before"]["amount"], images["update_after"]["amount"]) == (
            Decimal("0.50"),
            Decimal("7.00"),
        )
        assert changes.days == (D1, D3)


def test_without_a_key_an_update_is_a_delete_and_an_insert(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    table.overwrite(rows([5, 5], D2, amount=[None, None]), where=Window.of_days(D2, D2), run_key="3")
    assert sorted(seen(table.changes(since))) == [("delete", 5), ("insert", 5), ("insert", 5)]


def test_what_came_and_went_in_between_is_no_change(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    table.append(rows([6], D3), run_key="3")
    table.delete("order_id = 6", run_key="4")
    changes = table.changes(since, key=KEY)
    assert seen(changes) == []
    assert changes.days == ()


def test_until_is_a_ref_a_snapshot_or_a_time(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    first = table.append(rows([6], D3), run_key="3").snapshot_id
    assert first is not None
    table.create_branch("run/x")
    table.append(rows([7], D3), run_key="4")
    table.append(rows([8], D3), run_key="5", branch="run/x")
    assert seen(table.changes(since, until=first)) == [("insert", 6)]
    assert sorted(seen(table.changes(since))) == [("insert", 6), ("insert", 7)]
    assert sorted(seen(table.changes(since, until="run/x"))) == [("insert", 6), ("insert", 8)]
    assert seen(table.changes(since, until=table.snapshots()[1].committed_at)) == [("insert", 6)]


def test_compaction_shows_nothing(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    since = head(table)
    table.append(rows([6], D1), run_key="3")
    before = head(table)
    table.replace_files(paths(foreign(orders.name), D1), rows([1, 2, 3, 4, 6], D1), run_key="4")
    compacted = table.changes(before, key=KEY)
    assert compacted.append_only
    assert (seen(compacted), compacted.days) == ([], ())
    # What was appended before the compaction is told without the rows that were compacted along with it.
    both = table.changes(since, key=KEY)
    assert both.append_only
    assert seen(both) == [("insert", 6)]


def test_compacted_files_are_not_read_for_an_overwrite_beside_them(
    table: LakeTable, rows: Rows, foreign: Foreign, orders: Table
) -> None:
    since = head(table)
    inputs = paths(foreign(orders.name), D1)
    table.replace_files(inputs, rows([4, 3, 2, 1], D1), run_key="3")
    table.replace_files(paths(foreign(orders.name), D1), rows([1, 3, 2, 4], D1), run_key="4")
    table.overwrite(rows([5], D2, amount=[None]), where=Window.of_days(D2, D2), run_key="5")
    for path in [*inputs, *paths(foreign(orders.name), D1)]:
        Path(path.removeprefix("file://")).unlink()
    assert seen(table.changes(since, key=KEY)) == [("update_before", 5), ("update_after", 5)]


def test_a_compaction_that_was_overwritten_is_compared_by_rows(
    table: LakeTable, rows: Rows, foreign: Foreign, orders: Table
) -> None:
    since = head(table)
    table.replace_files(paths(foreign(orders.name), D1), rows([4, 3, 2, 1], D1), run_key="3")
    table.delete("order_id = 2", run_key="4")
    assert seen(table.changes(since, key=KEY)) == [("delete", 2)]


def test_what_another_program_did_counts_too(lake: Lake, flat: Table, rows: Rows, foreign: Foreign) -> None:
    table = lake.create(flat)
    table.append(rows([1, 2, 3, 4]), run_key="1")
    since = head(table)
    other = foreign(flat.name)
    other.delete("order_id = 1")
    other.overwrite(rows([2], email=["new"]), overwrite_filter="order_id = 2")
    other.append(rows([5]))
    assert seen(table.changes(since, key=KEY)) == [
        ("delete", 1),
        ("update_before", 2),
        ("update_after", 2),
        ("insert", 5),
    ]


def test_a_key_that_is_there_twice_is_named(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    table.append(rows([77, 78, 77], D3), run_key="3")
    with pytest.raises(QueryError, match="order_id=77"), table.changes(since, key=KEY) as appended:
        appended.rows()
    table.overwrite(rows([5], D2, amount=[None]), where=Window.of_days(D2, D2), run_key="4")
    with pytest.raises(QueryError, match="order_id=77"), table.changes(since, key=KEY) as mixed:
        mixed.rows()
    assert Counter(seen(table.changes(since))) == {
        ("insert", 77): 2,
        ("insert", 78): 1,
        ("delete", 5): 1,
        ("insert", 5): 1,
    }


def test_a_key_of_several_columns_pairs_what_agrees_in_all(table: LakeTable, rows: Rows) -> None:
    since = head(table)
    table.overwrite(
        rows([5, 6], D2, amount=[Decimal(1), None], email=["5@example.com", None]),
        where=Window.of_days(D2, D2),
        run_key="3",
    )
    both = table.changes(since, key=("email", "order_id"))
    assert both.counts() == {"insert": 1, "delete": 0, "update": 1}
    assert seen(both) == [("update_before", 5), ("update_after", 5), ("insert", 6)]
    assert table.changes(since, key=("order_id", "amount")).counts() == {"insert": 2, "delete": 1, "update": 0}


def test_an_unknown_key_column_is_refused(table: LakeTable) -> None:
    with pytest.raises(QueryError, match="nope"):
        table.changes(head(table), key=("nope",))


def test_an_expired_start_says_what_to_do(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    first, second = (snapshot.id for snapshot in reversed(table.snapshots()))
    table.append(rows([6], D3), run_key="3")
    foreign(orders.name).maintenance.expire_snapshots().by_ids([first]).commit()
    with pytest.raises(SnapshotMissing, match="expired"):
        table.changes(4711)
    table.overwrite(rows([5], D2, amount=[None]), where=Window.of_days(D2, D2), run_key="4")
    with pytest.raises(SnapshotMissing, match="expired") as caught:
        table.changes(first)
    assert "keepSnapshotsDays" in caught.value.remedy
    assert seen(table.changes(second, key=KEY)) == [("update_before", 5), ("update_after", 5), ("insert", 6)]


@pytest.mark.usefixtures("table")
def test_after_an_expired_start_appends_can_still_be_told(foreign: Foreign, orders: Table) -> None:
    other = foreign(orders.name)
    first, second = other.metadata.snapshots
    # As other programs expire: PyIceberg's own also forgets which parent a snapshot had.
    other.metadata = other.metadata.model_copy(update={"snapshots": [second]})
    with Changes(state_at(orders.name, other), first.snapshot_id, KEY) as changes:
        assert seen(changes) == [("insert", 5)]


def test_a_start_that_a_restore_took_back_is_refused(
    table: LakeTable, rows: Rows, foreign: Foreign, orders: Table
) -> None:
    taken_back = head(table)
    with foreign(orders.name).manage_snapshots() as refs:
        refs.rollback_to_snapshot(table.snapshots()[1].id)
    table.append(rows([6], D3), run_key="3")
    with pytest.raises(SnapshotMissing, match="restored"):
        table.changes(taken_back)
    with pytest.raises(SnapshotMissing, match="restored"):
        table.changed_days(2)


def test_evolution_in_between_is_no_change_of_rows(lake: Lake, table: LakeTable, orders: Table, rows: Rows) -> None:
    since = head(table)
    columns = [
        replace(one, name="mail", renamed_from="email") if one.name == "email" else one for one in orders.columns
    ]
    lake.create(replace(orders, columns=(Column("coupon", "string"), *reversed(columns))))
    renamed = rows([1, 2, 3, 4], D1).rename_columns([*rows([1]).column_names[:-1], "mail"])
    coupons = pa.array([None, None, "X", None], pa.string())
    table.overwrite(renamed.append_column("coupon", coupons), where=Window.of_days(D1, D1), run_key="3")
    with table.changes(since, key=KEY) as changes:
        read = changes.rows().read_all()
        assert read.column_names == [CHANGE, "coupon", "mail", "paid_at", "amount", "order_date", "order_id"]
        assert read.select([CHANGE, "coupon", "mail", "order_id"]).to_pylist() == [
            {CHANGE: "update_before", "coupon": None, "mail": "3@example.com", "order_id": 3},
            {CHANGE: "update_after", "coupon": "X", "mail": "3@example.com", "order_id": 3},
        ]


def test_closing_leaves_no_file_behind(
    table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    since = head(table)
    table.overwrite(rows([5], D2, amount=[None]), where=None, run_key="3")
    with table.changes(since, key=KEY) as changes:
        batches = iter(changes.rows())
        next(batches)
        # Another question does not end the stream.
        assert changes.days == (D1, D2)
        assert list(tmp_path.glob("lakehouse-changes-*"))
        assert sum(len(batch) for batch in batches) >= 0
    assert not list(tmp_path.glob("lakehouse-changes-*"))
