"""Merging by key beside Spark: it reads what we merged, and we go on with what it writes, in all of its modes.

A plain DuckDB table gets the same statements, ours and Spark's.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pytest

from assets_tests.iceberg.merge.twin import COLUMNS, Twin, rows
from assets_tests.iceberg.overtaking import before_swap
from assets_tests.interop.conftest import OpenReaders
from assets_tests.interop.readers import Readers
from lakehouse.errors import CatalogError
from lakehouse.iceberg import CHANGE, Way, connect
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, PartitionField, Table, TableName

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
MODES = {
    "hides by file": {"mode": "merge-on-read", "granularity": "file"},
    "hides by partition": {"mode": "merge-on-read", "granularity": "partition"},
    "writes anew": {"mode": "copy-on-write", "granularity": "file"},
}
LATE = timedelta(days=30)
Row = tuple[Any, ...]


class Shared(Twin):
    """A table that Spark writes, too."""

    readers: Readers

    @property
    def here(self) -> str:
        return self.readers.spark_name(self.table.name)

    def spark(self, *statements: str) -> None:
        """Let Spark write, and DuckDB the same to the plain table. `{here}` is the table."""
        for statement in statements:
            self.readers.spark.sql(statement.format(here=self.here))
            self._plain.execute(statement.format(here="twin"))

    def spark_mode(self, mode: dict[str, str]) -> None:
        properties = {f"write.{effect}.mode": mode["mode"] for effect in ("delete", "update", "merge")}
        properties["write.delete.granularity"] = mode["granularity"]
        told = ", ".join(f"'{key}' = '{value}'" for key, value in properties.items())
        self.readers.spark.sql(f"alter table {self.here} set tblproperties({told})")

    def spark_merges(self, came: str, gone: int) -> None:
        """Spark merges rows (SQL values) by id, and takes one away."""
        source = f"(select * from (values {came}) as v(id, day, name, amount, version))"
        self.readers.spark.sql(
            f"merge into {self.here} as t using {source} as s on t.id = s.id when matched and s.version < 0 then delete"
            " when matched then update set * when not matched then insert *"
        )
        self._plain.execute(f"delete from twin where id in (select id from {source})")
        self._plain.execute(f"insert into twin select * from {source} where version >= 0")
        assert gone not in {row[0] for row in self.rows()}

    def agrees(self) -> None:
        """Spark, DuckDB and PyIceberg read what the plain table holds."""
        assert not self.differs()
        self.readers.equal(self.table.name)


@pytest.fixture(scope="module")
def readers(open_readers: OpenReaders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readers]:
    state = tmp_path_factory.mktemp("merge")
    settings = load_settings(
        ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"}, warehouse=f"file://{state}/warehouse"
    )
    with open_readers(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def duck(readers: Readers) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(readers.settings) as connection:
        yield connection


@pytest.fixture
def shared(readers: Readers, duck: duckdb.DuckDBPyConnection, request: pytest.FixtureRequest) -> Shared:
    """Keys 1 to 8: a file of each of two days."""
    name = "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    declared = Table(
        name=TableName(Layer.SILVER, name.lower()),
        domain="shop",
        description="Things",
        columns=(
            Column("id", "long"),
            Column("day", "date"),
            Column("name", "string"),
            Column("amount", "decimal(12, 2)"),
            Column("version", "long"),
        ),
        file=Path("things.yaml"),
        partition_by=(PartitionField("day", "day"),),
    )
    made = Shared(readers.lake.create(declared), duck, declared)
    made.readers = readers
    for day in (1, 2):
        made.append(rows(*((4 * day - 3 + number, day, "old", 10) for number in range(4))))
    return made


def value(number: int, day: int, name: str, version: int) -> str:
    """A row of SQL values, as Spark and DuckDB understand it."""
    amount = f"cast({version / 2} as decimal(12, 2))"
    return f"(cast({number} as bigint), date '2026-01-0{day}', '{name}', {amount}, cast({version} as bigint))"


def changed(shared: Shared, since: int) -> list[Row]:
    with shared.table.changes(since, key=["id"]) as changes:
        read = changes.rows().read_all().select([CHANGE, *COLUMNS]).to_pylist()
    return sorted(tuple(row.values()) for row in read)


def images(before: list[Row], after: list[Row]) -> list[Row]:
    """What must have changed between two states, by key."""
    came, went = Counter(after) - Counter(before), Counter(before) - Counter(after)
    both = {row[0] for row in came} & {row[0] for row in went}
    found = [("update_after" if row[0] in both else "insert", *row) for row in came]
    return sorted(found + [("update_before" if row[0] in both else "delete", *row) for row in went])


def compact(shared: Shared) -> None:
    groups: dict[str, list[str]] = {}
    for file in shared.table.live_files():
        groups.setdefault(file.partition, []).append(file.path)
    assert shared.table.compact(list(groups.values()), connection=shared.duck).groups == len(groups)
    assert not any(file.delete_files for file in shared.table.live_files())


@pytest.mark.parametrize("way", Way)
def test_spark_reads_what_we_merged(shared: Shared, way: Way) -> None:
    """Also where a key was merged twice, and its file has got another delete file."""
    shared.merge(rows((2, 1, "new", 1), (6, 1, "moved", 1), (9, 3, "new", 1)), way=way)
    shared.agrees()
    given = rows((2, 2, "again", 2), (3, 1, "x", 2), (9, 3, "x", 2), gone=[False, True, True])
    shared.merge(given, deleted="gone", way=way)
    shared.agrees()
    hidden = any(file.delete_files for file in shared.table.live_files())
    assert hidden is (way is Way.MERGE_ON_READ)
    compact(shared)
    shared.agrees()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_we_go_on_with_what_spark_has_written(shared: Shared, mode: dict[str, str]) -> None:
    """It appends, merges and deletes among our files and its own; then we do, and it once more upon ours."""
    shared.spark_mode(mode)
    before, since = shared.rows(), shared.table.snapshots()[0].id
    shared.spark("insert into {here} values " + ", ".join(value(number, 2, "spark", 4) for number in range(20, 26)))
    shared.spark_merges(
        ", ".join([value(2, 1, "spark", 6), value(21, 3, "spark", 6), value(30, 1, "spark", 6), value(3, 1, "x", -1)]),
        gone=3,
    )
    shared.spark("delete from {here} where id in (5, 22)")
    assert any(file.path.startswith("file:/") and "///" not in file.path for file in shared.table.live_files())
    shared.agrees()
    assert changed(shared, since) == images(before, shared.rows())
    for number, way in enumerate(Way):
        # A key of our file, one of Spark's insert, one that Spark has merged, one that it took away, a new one.
        ours = [(1 + number, 1), (23 + number, 2), (2, 2), (21, 3), (5, 2), (40 + number, 1)]
        given = rows(*((key, day, f"ours {number}", 8) for key, day in ours), (20 + 4 * number, 2, "x", 8))
        shared.merge(given.append_column("gone", [[False] * len(ours) + [True]]), deleted="gone", way=way)
        shared.agrees()
    assert changed(shared, since) == images(before, shared.rows())
    shared.spark_merges(
        ", ".join([value(1, 1, "again", 9), value(23, 2, "again", 9), value(40, 1, "again", 9), value(2, 1, "x", -1)]),
        gone=2,
    )
    shared.spark("delete from {here} where id = 25")
    shared.merge(rows((1, 2, "last", 10), (2, 1, "last", 10), (7, 2, "last", 10)), way=Way.MERGE_ON_READ)
    shared.agrees()
    assert changed(shared, since) == images(before, shared.rows())
    packed = shared.table.snapshots()[0].id
    compact(shared)
    shared.agrees()
    assert changed(shared, packed) == []
    shared.merge(rows((1, 1, "after", 11), (23, 2, "after", 11)), way=Way.MERGE_ON_READ)
    shared.agrees()


@pytest.mark.parametrize("mode", MODES.values(), ids=list(MODES))
def test_a_merge_that_spark_overtakes_begins_anew(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, mode: dict[str, str]
) -> None:
    """Spark updates one of our keys, and brings another one, between our files and our snapshot."""
    shared.spark_mode(mode)
    came = ", ".join([value(2, 1, "spark", 6), value(50, 3, "spark", 6), value(3, 1, "x", -1)])
    before_swap(monkeypatch, lambda: shared.spark_merges(came, gone=3))
    shared.merge(rows((2, 2, "ours", 7), (50, 1, "ours", 7), (3, 1, "ours", 7)), way=Way.MERGE_ON_READ)
    shared.agrees()
    assert Counter(row[2] for row in shared.rows()) == {"old": 6, "ours": 3}


@pytest.mark.parametrize("ours_is_last", [True, False])
def test_spark_keeps_up_a_table_that_remembers_deleted_keys(shared: Shared, *, ours_is_last: bool) -> None:
    """It packs data files and delete files, expires, and removes orphans, all of which are old.

    The file of deleted keys stays while a snapshot of ours is left, beside which it is listed. Else it goes with the
    last one, for Spark's own snapshots do not name it: then that is said, and no late row comes back.
    """
    given = rows((1, 1, "x", 20), (2, 1, "new", 20), (6, 2, "x", 20), gone=[True, False, True])
    shared.merge(given, sequence="version", deleted="gone", way=Way.MERGE_ON_READ, late=LATE)
    system, name = f"{shared.readers.spark.catalog}.system", shared.table.name
    shared.readers.spark.sql(f"call {system}.rewrite_position_delete_files(table => '{name}')")
    words = f"table => '{name}', options => map('rewrite-all', 'true')"
    shared.readers.spark.sql(f"call {system}.rewrite_data_files({words})")
    shared.agrees()
    if ours_is_last:
        shared.append(rows((90, 1, "ours", 1)))
    tomorrow = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    shared.readers.spark.sql(f"call {system}.expire_snapshots(table => '{name}', older_than => timestamp '{tomorrow}')")
    old = (datetime.now(UTC) - timedelta(days=10)).timestamp()
    for file in Path(urlsplit(shared.readers.settings.warehouse).path).rglob("*"):
        os.utime(file, (old, old))
    limit = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d %H:%M:%S}"
    shared.readers.spark.sql(f"call {system}.remove_orphan_files(table => '{name}', older_than => timestamp '{limit}')")
    late = rows((1, 1, "late", 19), (6, 2, "late", 19))
    asked: Any = {"key": ["id"], "sequence": "version", "connection": shared.duck, "run_key": "late", "late": LATE}
    if ours_is_last:
        assert shared.table.merge(late, **asked).operation == "none"
    else:
        with pytest.raises(CatalogError, match="deleted keys"):
            shared.table.merge(late, **asked)
    shared.agrees()
