"""Changes between snapshots: the net effect, exactly, whichever way the files went."""

from __future__ import annotations

import math
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError, QueryError, SnapshotMissing
from lakehouse.iceberg import CHANGE, Changes, Lake, LakeTable
from lakehouse.iceberg.reads.scan import state_at
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, Layer, Table, TableName, Window

ROOT = Path(__file__).resolve().parents[2]
Rows = Callable[..., pa.Table]
Foreign = Callable[[TableName], IcebergTable]
KEY = ("order_id",)
D1, D2, D3 = (date(2026, 1, number) for number in (1, 2, 3))


@pytest.fixture
def any_settings(settings: Settings) -> Settings:
    return settings


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


def paths(foreign: IcebergTable, day: date | None = None) -> list[str]:
    """The live data files, of one day if it is given."""
    found = [task.file.file_path for task in foreign.refresh().scan().plan_files()]
    return [path for path in found if day is None or f"={day}" in path]


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


def test_a_table_without_a_window_has_no_days(lake: Lake, flat: Table, rows: Rows) -> None:
    table = lake.create(flat)
    since = table.append(rows([1]), run_key="a").snapshot_id
    assert since is not None
    table.append(rows([2]), run_key="b")
    with pytest.raises(CommitError, match="window"):
        _ = table.changes(since).days
    with pytest.raises(CommitError, match="window"):
        table.changed_days(1)


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


def number(snapshot: int | None, table: LakeTable) -> int:
    return next(one.sequence_number for one in table.snapshots() if one.id == snapshot)


def test_changed_days_come_from_metadata_alone(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    above = table.snapshots()[0].sequence_number
    assert table.changed_days(above).days == ()
    table.append(rows([6], D3), run_key="3")
    table.overwrite(rows([1, 2], D1), where=Window.of_days(D1, D1), run_key="4")
    table.delete(Window.of_days(D2, D2), run_key="5")
    for path in paths(foreign(orders.name)):
        Path(path.removeprefix("file://")).unlink()
    found = table.changed_days(above)
    assert (found.days, found.complete) == ((D1, D2, D3), True)
    assert table.changed_days(0).days == (D1, D2, D3)


def test_compaction_changes_no_day(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    table.append(rows([6], D1), run_key="3")
    above = table.snapshots()[0].sequence_number
    table.replace_files(paths(foreign(orders.name), D1), rows([1, 2, 3, 4, 6], D1), run_key="4")
    assert table.changed_days(above).days == ()
    # Seen from before the append, it is still the append's day.
    assert table.changed_days(above - 1).days == (D1,)


def test_changed_days_are_answered_after_expiry(table: LakeTable, rows: Rows, foreign: Foreign, orders: Table) -> None:
    above = table.snapshots()[0].sequence_number
    table.append(rows([6], D3), run_key="3")
    table.delete(Window.of_days(D2, D2), run_key="4")
    table.append(rows([7], D3), run_key="5")
    old = [snapshot.id for snapshot in table.snapshots()[1:]]
    foreign(orders.name).maintenance.expire_snapshots().by_ids(old).commit()
    found = table.changed_days(above)
    # The second day lost its only file, and the snapshot that says so is gone.
    assert (found.days, found.complete) == ((D3,), False)


# The property: against Counters, over whatever two programs and a changing contract do.

NAME = TableName(Layer.SILVER, "t")
COLUMNS = (
    Column("k", "long", required=True),
    Column("day", "date", required=True),
    Column("f", "double"),
    Column("d", "decimal(20, 3)"),
    Column("at", "timestamptz"),
    Column("s", "string"),
)
Row = dict[str, Any]
FLOATS = st.sampled_from([None, 0.0, -0.0, math.nan, math.inf, 1.5])
ROW = st.fixed_dictionaries(
    {
        "k": st.integers(0, 5),
        "day": st.sampled_from([D1, D2, D3]),
        "f": FLOATS,
        "d": st.sampled_from([None, Decimal("0.000"), Decimal("0.001"), Decimal("99999999999999999.999")]),
        "at": st.sampled_from([None, datetime(1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=UTC)]),
        "s": st.sampled_from([None, "", "a", "A"]),
    }
)
STEP = st.one_of(
    st.tuples(st.just("append"), st.lists(ROW, max_size=4)),
    st.tuples(st.just("overwrite"), st.lists(ROW, max_size=4)),
    st.tuples(st.just("window"), st.lists(ROW.map(lambda row: {**row, "day": D2}), max_size=3)),
    st.tuples(st.just("delete"), st.integers(0, 5)),
    st.tuples(st.just("foreign delete"), st.integers(0, 5)),
    st.tuples(st.just("compact"), st.none()),
    st.tuples(st.just("evolve"), st.none()),
)


Frozen = tuple[tuple[str, Any], ...]


def frozen(row: Row) -> Frozen:
    """A row as a value in which -0.0 is not 0.0, and NaN is itself."""
    return tuple(
        (name, struct.pack(">d", value) if isinstance(value, float) else value) for name, value in sorted(row.items())
    )


class World:
    """A table, and what is in it."""

    def __init__(self, folder: Path) -> None:
        self.contract = Table(NAME, "d", "", COLUMNS, Path("t.yaml"), window_column="day")
        given_settings = load_settings(ROOT, state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})
        self.lake = Lake.open(given_settings)
        self.table = self.lake.create(self.contract)
        self.other = SqlCatalog(
            given_settings.catalog.name,
            uri=given_settings.catalog.uri.get_secret_value(),
            warehouse=given_settings.warehouse,
        )
        self.rows: list[Row] = []
        self.keys = 0

    def arrow(self, rows: list[Row]) -> pa.Table:
        return pa.Table.from_pylist(rows, schema=self.table.schema())

    def step(self, kind: str, given: Any) -> None:  # noqa: ANN401  (one branch a kind of step)
        self.keys += 1
        promise = f"{self.keys}"
        extra = {column.name: None for column in self.contract.columns[len(COLUMNS) :]}
        rows = [{**row, **extra} for row in given] if isinstance(given, list) else []
        match kind:
            case "append":
                self.table.append(self.arrow(rows), run_key=promise)
                self.rows = self.rows + rows
            case "overwrite":
                self.table.overwrite(self.arrow(rows), where=None, run_key=promise)
                self.rows = rows
            case "window":
                self.table.overwrite(self.arrow(rows), where=Window.of_days(D2, D2), run_key=promise)
                self.rows = [row for row in self.rows if row["day"] != D2] + rows
            case "delete":
                self.table.delete(f"k = {given}", run_key=promise)
                self.rows = [row for row in self.rows if row["k"] != given]
            case "foreign delete":
                other = self.other.load_table(NAME.key)
                if other.current_snapshot() is not None and any(row["k"] == given for row in self.rows):
                    other.delete(f"k = {given}")
                self.rows = [row for row in self.rows if row["k"] != given]
            case "compact":
                files = [task.file.file_path for task in self.other.load_table(NAME.key).scan().plan_files()]
                self.table.replace_files(files, self.arrow(self.rows), run_key=promise)
            case "evolve":
                new = Column(f"n{self.keys}", "long")
                self.contract = replace(self.contract, columns=(*self.contract.columns, new))
                self.lake.create(self.contract)
                self.rows = [{**row, new.name: None} for row in self.rows]


@pytest.fixture(scope="module")
def worlds() -> Iterator[Callable[[], World]]:
    folders: list[Path] = []

    def make() -> World:
        folders.append(Path(tempfile.mkdtemp()))
        return World(folders[-1])

    yield make
    for folder in folders:
        shutil.rmtree(folder)


@given(before=st.lists(STEP, max_size=3), after=st.lists(STEP, max_size=4), keyed=st.booleans())
@hypothesis_settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_changes_are_the_difference_of_the_rows(
    worlds: Callable[[], World], before: list[tuple[str, Any]], after: list[tuple[str, Any]], *, keyed: bool
) -> None:
    world = worlds()
    world.table.append(world.arrow([]), run_key="first", progress={"s": {"at": 0}})
    for step in before:
        world.step(*step)
    since = world.table.snapshots()[0]
    old = world.rows
    for step in after:
        world.step(*step)
    extra = {column.name: None for column in world.contract.columns}
    was, now = Counter(frozen({**extra, **row}) for row in old), Counter(frozen(row) for row in world.rows)
    gone, new = was - now, now - was
    touched = {dict(row)["day"] for row in (gone + new)}
    with world.table.changes(since.id, key=("k",) if keyed else ()) as changes:
        keys = [Counter(dict(row)["k"] for row in side.elements()) for side in (gone, new)]
        if changes.append_only:
            # Rows that came and are there already are inserts too; nothing goes.
            assert not gone
        if keyed and any(count > 1 for side in keys for count in side.values()):
            with pytest.raises(QueryError, match="k="):
                changes.rows()
            return
        rows = changes.rows().read_all().to_pylist()
        found: dict[str, Counter[Frozen]] = {"-": Counter(), "+": Counter()}
        for row in rows:
            change = row.pop(CHANGE)
            found["-" if change in {"delete", "update_before"} else "+"][frozen(row)] += 1
            if change.startswith("update"):
                assert keyed
                assert keys[0][row["k"]] == keys[1][row["k"]] == 1
        assert (found["-"], found["+"]) == (gone, new)
        assert set(changes.days) == touched
    assert touched <= set(world.table.changed_days(since.sequence_number).days)
