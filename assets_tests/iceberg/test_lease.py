"""Tags keep snapshots; leases are tags that end: at the end of their block, or by their age after a crash."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import BadRequestError, CommitFailedException
from pyiceberg.table import CommitTableResponse
from pyiceberg.table import Table as IcebergTable

from assets_tests.forks import Fork
from assets_tests.iceberg.overtaking import before_swap
from lakehouse.errors import BranchMissing, CommitError, SnapshotMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
HOUR = timedelta(hours=1)


@pytest.fixture
def table(any_lake: Lake, orders: Table, rows: Rows) -> LakeTable:
    made = any_lake.create(orders)
    made.append(rows([1]), run_key="a")
    made.append(rows([2]), run_key="b")
    return made


def test_a_tag_names_a_snapshot_and_is_read_by_name(table: LakeTable) -> None:
    b, a = table.snapshots()
    table.tag("closed/2025", a.id)
    table.tag("closed/2026")
    assert table.tags() == {"closed/2025": a.id, "closed/2026": b.id}
    assert table.scan(columns=["order_id"], at="closed/2025").read_all()["order_id"].to_pylist() == [1]
    assert table.branches() == ()
    table.untag("closed/2025")
    table.untag("closed/2025")
    assert set(table.tags()) == {"closed/2026"}


def test_a_tag_stays_where_it_is(table: LakeTable) -> None:
    b, a = table.snapshots()
    table.tag("closed", a.id)
    table.tag("closed", a.id)
    with pytest.raises(CommitError, match="already"):
        table.tag("closed", b.id)
    assert table.tags() == {"closed": a.id}


def test_tags_and_branches_do_not_take_each_others_names(table: LakeTable, rows: Rows) -> None:
    table.create_branch("run/a")
    table.append(rows([3]), run_key="c", branch="run/a")
    table.tag("closed")
    for wrong in (
        lambda: table.tag("run/a"),
        lambda: table.untag("run/a"),
        lambda: table.discard("closed"),
        lambda: table.create_branch("closed"),
        lambda: table.tag("main"),
        lambda: table.untag("main"),
    ):
        with pytest.raises(CommitError):
            wrong()
    assert (table.branches(), list(table.tags())) == (("run/a",), ["closed"])


def test_what_is_not_there_cannot_be_named(table: LakeTable, any_lake: Lake, flat: Table) -> None:
    with pytest.raises(SnapshotMissing):
        table.tag("closed", 12345)
    with pytest.raises(BranchMissing):
        table.tag("closed", "run/nobody")
    with pytest.raises(SnapshotMissing, match="no snapshot to name"):
        any_lake.create(flat).tag("closed")


def test_a_lease_is_a_tag_for_the_time_of_its_block(table: LakeTable, foreign: Foreign, rows: Rows) -> None:
    head = table.snapshots()[0].id
    with table.lease(max_age=HOUR) as lease:
        assert lease.tag.startswith("lease/")
        table.overwrite(rows([9]), where=None, run_key="c")
        foreign(table.name).maintenance.expire_snapshots().by_id(table.snapshots()[-1].id).commit()
        assert lease.snapshot_id == table.tags()[lease.tag] == head
        assert sorted(table.scan(at=lease.snapshot_id).read_all()["order_id"].to_pylist()) == [1, 2]
        assert table.scan(at=lease.tag).read_all().num_rows == 2
        with pytest.raises(ValueError, match="protected"):
            foreign(table.name).maintenance.expire_snapshots().by_id(head).commit()
    assert table.tags() == {}
    foreign(table.name).maintenance.expire_snapshots().by_id(head).commit()


def test_a_lease_is_released_when_its_block_fails(table: LakeTable) -> None:
    with pytest.raises(RuntimeError, match="reader"), table.lease(max_age=HOUR):
        raise RuntimeError("the reader broke")
    assert table.tags() == {}


def test_many_may_lease_at_once(table: LakeTable) -> None:
    with table.lease(max_age=HOUR) as one, table.lease(max_age=HOUR) as other:
        assert one.tag != other.tag
        assert set(table.tags()) == {one.tag, other.tag}


def test_the_age_of_a_lease_is_counted_from_now_not_from_its_snapshot(table: LakeTable, foreign: Foreign) -> None:
    """Readers of the format compare `max-ref-age-ms` with the age of the snapshot that the ref names."""
    snapshot = table.snapshots()[-1]
    before = time.time_ns() // 1_000_000
    with table.lease(snapshot.id, max_age=HOUR) as lease:
        ends = foreign(table.name).refs()[lease.tag].max_ref_age_ms
        after = time.time_ns() // 1_000_000
    assert ends is not None
    ends_at = int(snapshot.committed_at.timestamp() * 1000) + ends
    assert before + 3_600_000 - 1 <= ends_at <= after + 3_600_000 + 1


def test_a_lease_that_has_outlived_its_age_counts_as_absent(table: LakeTable, rows: Rows) -> None:
    head = table.snapshots()[0].id
    table.tag("lease/old", head, max_age=timedelta(milliseconds=-1))
    table.tag("lease/new", head, max_age=HOUR)
    assert set(table.tags()) == {"lease/new"}
    with pytest.raises(BranchMissing, match=r"tag 'lease/old' of .* has expired"):
        table.scan(at="lease/old")
    with pytest.raises(BranchMissing, match="has expired"):
        table.tag("other", "lease/old")
    assert table.scan(at="lease/new").read_all().num_rows == table.scan(at=head).read_all().num_rows
    # Its name is free: it is taken over, also for another snapshot.
    table.append(rows([3]), run_key="c")
    table.tag("lease/old", max_age=HOUR)
    assert table.tags()["lease/old"] == table.snapshots()[0].id


def test_a_lease_survives_the_death_of_its_holder(
    settings: Settings, lake: Lake, orders: Table, rows: Rows, fork: Callable[..., Fork]
) -> None:
    table = lake.create(orders)
    table.append(rows([1]), run_key="a")
    program = (
        "import sys, time\n"
        "from datetime import timedelta\n"
        "from pathlib import Path\n"
        "from lakehouse.iceberg import Lake\n"
        "from lakehouse.settings import load_settings\n"
        "from lakehouse.tables import TableName\n"
        "root, state, uri = sys.argv[1:]\n"
        "lake = Lake.open(load_settings(Path(root), state=state, catalog={'uri': uri}))\n"
        "with lake.table(TableName.parse('silver.orders')).lease(max_age=timedelta(hours=1)) as lease:\n"
        "    print(lease.tag, flush=True)\n"
        "    time.sleep(600)\n"
    )
    uri = settings.catalog.uri.get_secret_value()
    holder = fork(program, Path(__file__).parents[2], settings.state, uri)
    tag = holder.line()
    assert holder.process.is_alive(), holder.stderr
    holder.kill()
    table.overwrite(rows([2]), where=None, run_key="b")
    assert set(table.tags()) == {tag}
    assert table.scan(at=tag).read_all()["order_id"].to_pylist() == [1]


def test_a_tag_that_the_catalog_loses_is_noticed(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some catalogs answer well and keep no ref: a lease that is not there protects nothing."""

    def answer(_catalog: SqlCatalog, table: IcebergTable, *_asked: object) -> CommitTableResponse:
        return CommitTableResponse(metadata=table.metadata, metadata_location=table.metadata_location)

    monkeypatch.setattr(SqlCatalog, "commit_table", answer)
    with pytest.raises(BranchMissing, match="is not there"):
        table.tag("closed")
    with pytest.raises(BranchMissing, match="is not there"):
        table.create_branch("run/a")


@pytest.mark.parametrize(
    "refusal",
    [
        ValueError("Cannot set closed to unknown snapshot 1"),
        BadRequestError("ValidationException: Cannot set closed to unknown snapshot: 1"),
    ],
)
def test_a_snapshot_that_expires_while_it_is_tagged_is_told_in_our_words(
    table: LakeTable, foreign: Foreign, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    """The first is what PyIceberg says, the second what Iceberg's REST server does."""
    old = table.snapshots()[-1].id

    def late() -> None:
        foreign(table.name).maintenance.expire_snapshots().by_id(old).commit()
        raise refusal

    before_swap(monkeypatch, late)
    with pytest.raises(SnapshotMissing, match=str(old)):
        table.tag("closed", old)


def test_two_that_tag_at_once_agree_or_one_is_told(table: LakeTable, monkeypatch: pytest.MonkeyPatch) -> None:
    b, a = table.snapshots()
    before_swap(monkeypatch, lambda: table.tag("closed", a.id))
    with pytest.raises(CommitError, match="already"):
        table.tag("closed", b.id)
    assert table.tags() == {"closed": a.id}


def test_two_discards_of_one_branch_do_no_harm(table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    table.create_branch("run/a")
    table.append(rows([3]), run_key="c", branch="run/a")
    before_swap(monkeypatch, lambda: table.discard("run/a"))
    table.discard("run/a")
    assert table.branches() == ()


def test_a_discard_that_is_overtaken_by_a_write_asks_again(
    table: LakeTable, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.create_branch("run/a")

    def late() -> None:
        table.append(rows([3]), run_key="c", branch="run/a")
        raise CommitFailedException("the branch moved")

    before_swap(monkeypatch, late)
    table.discard("run/a")
    assert table.branches() == ()
