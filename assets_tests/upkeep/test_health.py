"""How a table is doing, from metadata alone; and what is planned for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import TableMissing
from lakehouse.iceberg import Lake, LakeTable, LastReads, read_summary
from lakehouse.iceberg.catalogs.sql_catalog import SqlLakeCatalog
from lakehouse.settings import Settings
from lakehouse.storage import from_uri, local_path
from lakehouse.tables import Layer, Table, TableName, Upkeep
from lakehouse.upkeep import Policy, Reason, health, plan_upkeep

Rows = Callable[..., pa.Table]
POLICY = Policy(target_bytes=2**20)
NOW = datetime.now(UTC)
LATER = timedelta(days=8)


@pytest.fixture
def busy(lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    """Six small files in a partition and one in another, a branch, a tag."""
    table = lake.create(orders)
    for number in range(6):
        table.append(rows([number], date(2026, 1, 1)), run_key=f"a{number}")
    table.append(rows([9], date(2026, 1, 2)), run_key="b")
    table.create_branch("run/x")
    table.append(rows([8], date(2026, 1, 2)), run_key="x", branch="run/x")
    table.tag("month-end")
    return table


def test_the_figures_of_a_table(lake: Lake, busy: LakeTable) -> None:
    found = health(lake, busy.name, POLICY, now=NOW)
    assert (found.files, found.rows, found.small_files, found.partitions) == (7, 7, 7, 2)
    assert (found.snapshots, found.branches, found.tags, found.leases) == (8, 1, 1, 0)
    assert (found.delete_files, found.deleted_rows, found.expirable_snapshots) == (0, 0, 0)
    assert found.bytes == sum(file.bytes for file in busy.live_files())
    assert found.manifests == 7
    assert found.oldest_snapshot_at == busy.snapshots()[-1].committed_at
    assert health(lake, busy.name, replace(POLICY, target_bytes=100), now=NOW).small_files == 0


def test_a_table_without_a_snapshot_is_well(lake: Lake, flat: Table) -> None:
    lake.create(flat)
    found = health(lake, flat.name, POLICY, now=NOW)
    assert (found.files, found.snapshots, found.oldest_snapshot_at) == (0, 0, None)
    assert plan_upkeep(lake, flat.name, POLICY, now=NOW).nothing


def test_a_table_that_is_not_there_is_an_error(lake: Lake) -> None:
    with pytest.raises(TableMissing):
        health(lake, TableName.parse("silver.nothing"), POLICY, now=NOW)


def test_no_data_file_is_read(lake: Lake, busy: LakeTable) -> None:
    for file in busy.live_files():
        local_path(from_uri(file.path)).unlink()
    assert health(lake, busy.name, POLICY, now=NOW).files == 7
    assert plan_upkeep(lake, busy.name, POLICY, now=NOW).files == 6


def test_the_plan_packs_the_partition_with_enough_files(lake: Lake, busy: LakeTable) -> None:
    plan = plan_upkeep(lake, busy.name, POLICY, now=NOW)
    (group,) = plan.groups
    assert (group.partition, len(group.files), group.rows, group.reason) == (
        "order_date_day=2026-01-01",
        6,
        6,
        Reason.SMALL,
    )
    assert (plan.left, plan.nothing, plan.bytes) == (1, False, group.bytes)
    assert plan.reasons == ("6 files in 1 group to rewrite: small files",)
    assert plan.refused == ()


def test_snapshots_are_kept_for_as_long_as_the_contract_says(lake: Lake, flat: Table, rows: Rows) -> None:
    table = lake.create(replace(flat, upkeep=Upkeep(keep_snapshots=timedelta(days=2))))
    table.append(rows([1]), run_key="a")
    table.append(rows([2]), run_key="b")

    def expirable(after: timedelta) -> int:
        return health(lake, flat.name, POLICY, now=datetime.now(UTC) + after).expirable_snapshots

    assert [expirable(timedelta(days=days)) for days in (0, 1, 3)] == [0, 0, 1]
    plan = plan_upkeep(lake, flat.name, POLICY, now=datetime.now(UTC) + timedelta(days=3))
    assert (plan.nothing, plan.reasons) == (False, ("1 snapshot to expire",))
    # A contract that changes is followed with the next write.
    lake.create(replace(flat, upkeep=Upkeep(keep_snapshots=timedelta(days=4))))
    assert [expirable(timedelta(days=days)) for days in (3, 5)] == [0, 1]


def test_what_a_model_has_not_read_yet_waits_for_it(lake: Lake, flat: Table, orders: Table, rows: Rows) -> None:
    table, model = lake.create(flat), lake.create(orders)
    table.append(rows([1]), run_key="a")
    read = table.append(rows([2]), run_key="b").snapshot_id
    table.append(rows([3]), run_key="c")
    assert read is not None
    model.append(rows([1, 2]), run_key="m", summary=read_summary({flat.name: read}))
    assert len(plan_upkeep(lake, flat.name, POLICY, now=NOW + LATER).expiry.snapshots) == 1
    # Not for ever.
    hasty = replace(POLICY, consumers_wait=timedelta(days=1))
    assert len(plan_upkeep(lake, flat.name, hasty, now=NOW + LATER).expiry.snapshots) == 2


class Counting(Lake):
    """A lake that counts how often a table of it is opened to be looked at."""

    opened = 0

    def look(self, name: TableName) -> LakeTable:
        self.opened += 1
        return super().look(name)


def test_a_pass_over_many_tables_opens_each_for_its_readers_once(settings: Settings, flat: Table, rows: Rows) -> None:
    lake = Counting.open(settings)
    tables = [lake.create(replace(flat, name=TableName(Layer.GOLD, f"flat{number}"))) for number in range(5)]
    model = lake.create(replace(flat, name=TableName(Layer.GOLD, "model")))
    read = {}
    for table in tables:
        table.append(rows([1]), run_key="a")
        read[table.name] = table.append(rows([2]), run_key="b").snapshot_id or 0
        table.append(rows([3]), run_key="c")
    model.append(rows([1, 2]), run_key="m", summary=read_summary(read))
    lake.opened, reads = 0, LastReads(lake)
    plans = [plan_upkeep(lake, table.name, POLICY, now=NOW + LATER, reads=reads) for table in tables]
    # Each for itself, each to see which of its snapshots main holds, and once all that may have read it.
    assert lake.opened <= 2 * len(tables) + len([*tables, model])
    assert [len(plan.expiry.snapshots) for plan in plans] == [1] * len(tables)
    assert plans == [plan_upkeep(lake, table.name, POLICY, now=NOW + LATER) for table in tables]


def test_branches_that_nobody_published_are_planned_to_go(lake: Lake, busy: LakeTable) -> None:
    plan = plan_upkeep(lake, busy.name, POLICY, now=NOW + LATER)
    assert [ref.name for ref in plan.expiry.refs] == ["run/x"]
    assert "branches and tags to remove: run/x" in plan.reasons
    patient = replace(POLICY, audits_kept_for=timedelta(days=30))
    assert plan_upkeep(lake, busy.name, patient, now=NOW + LATER).expiry.refs == ()


def test_deletes_of_another_program_are_counted_and_planned(
    any_lake: Lake,
    flat: Table,
    rows: Rows,
    foreign: Callable[[TableName], IcebergTable],
    hide: Callable[..., None],
) -> None:
    table = any_lake.create(flat)
    table.append(rows(range(10)), run_key="a")
    hide(foreign(flat.name), 0)
    found = health(any_lake, flat.name, POLICY, now=NOW)
    assert (found.rows, found.delete_files, found.deleted_rows) == (10, 1, 1)
    assert [group.reason for group in plan_upkeep(any_lake, flat.name, POLICY, now=NOW).groups] == [Reason.DELETES]
    hide(foreign(flat.name), 3, by_value=True)
    plan = plan_upkeep(any_lake, flat.name, POLICY, now=NOW)
    assert (plan.groups, plan.left, plan.nothing) == ((), 1, True)
    assert plan.refused == ("1 file left alone: under equality deletes of another program, which has to compact them",)
    assert health(any_lake, flat.name, POLICY, now=NOW).delete_files == 2


def test_a_table_is_opened_once_for_all_that_is_asked(
    lake: Lake, busy: LakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick looks at hundreds of tables, and what is told of one must be of one state."""
    opened: list[object] = []
    honest = SqlLakeCatalog.load_table

    def load(self: SqlLakeCatalog, identifier: tuple[str, ...]) -> IcebergTable:
        opened.append(identifier)
        return honest(self, identifier)

    monkeypatch.setattr(SqlLakeCatalog, "load_table", load)
    assert health(lake, busy.name, POLICY, now=NOW).files == 7
    assert opened == [busy.name.key]
