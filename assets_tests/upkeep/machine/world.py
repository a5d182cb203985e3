"""The table that everybody works on, and what must hold of it after each step.

Which steps there are belongs in `writers.py`, `auditor.py`, `readers.py` and `keeper.py`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
from hypothesis.stateful import invariant
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.exploring import Counted
from assets_tests.iceberg.machine.states import Row, rows_of
from assets_tests.iceberg.machine.world import batch
from assets_tests.upkeep.machine.befalls import Came, killed, overtaken, tried
from assets_tests.upkeep.machine.states import Model, Rows, Run, State
from assets_tests.upkeep.machine.storage import Files, Reached
from lakehouse.iceberg import MAIN, Lake, connect
from lakehouse.settings import Settings, load_settings
from lakehouse.storage.open import s3_client
from lakehouse.tables import Column, Layer, Table, TableName

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = (Column("id", "int", required=True), Column("day", "date", required=True), Column("until", "date"))
SCOPES = ("a", "b", "run/a", "run/b")
MAX_AGE = timedelta(days=1)
PASSING = ("rebase/", "restored/")
"""Refs that others of the project's steps make by themselves."""


def folder_settings(folder: Path) -> Settings:
    return load_settings(ROOT, state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})


class World(Counted):
    settings_in: ClassVar[Callable[[Path], Settings]] = staticmethod(folder_settings)
    catalog: ClassVar[type[Catalog]] = SqlCatalog
    hide: ClassVar[Callable[..., None]]
    done: ClassVar[Counter[str]] = Counter()
    connections: ClassVar[dict[str, duckdb.DuckDBPyConnection]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.settings = type(self).settings_in(self.folder)
        self.lake = Lake.open(self.settings)
        # Some catalogs are shared by all examples.
        self.name = TableName(Layer.SILVER, f"t_{uuid.uuid4().hex[:12]}")
        self.lake.create(Table(self.name, "d", "", COLUMNS, Path("t.yaml"), window_column="day"))
        # Each has opened the lake for itself, as processes do; another program writes by plain PyIceberg.
        self.writer, self.auditor, self.keeper, self.reader = (
            Lake.open(self.settings).table(self.name) for _ in range(4)
        )
        # A connection knows the keys of one S3 server, and opening one takes longer than many steps.
        server = str(self.settings.s3.endpoint)
        if server not in World.connections:
            World.connections[server] = connect(self.settings)
        self.duck = World.connections[server]
        self.s3 = s3_client(self.settings) if self.settings.warehouse.startswith("s3:") else None
        self.foreign = self._foreign()
        properties = {
            "history.expire.max-snapshot-age-ms": str(MAX_AGE // timedelta(milliseconds=1)),
            "history.expire.min-snapshots-to-keep": "2",
            "write.metadata.delete-after-commit.enabled": "false",
            "write.metadata.previous-versions-max": "3",
        }
        self.stock().transaction().set_properties(properties).commit_transaction()
        self.files = Files(self.stock().location(), self.s3)
        self.reached = Reached()
        self.model = Model()
        self.runs: list[Run] = []
        self.numbers = count(1)
        self.ahead = timedelta()
        self.looked_at: tuple[str, State] | None = None
        World.done["examples"] += 1

    def _foreign(self) -> Catalog:
        uri = self.settings.catalog.uri.get_secret_value()
        if self.s3 is None and uri.startswith("sqlite"):
            return SqlCatalog(self.settings.catalog.name, uri=uri, warehouse=self.settings.warehouse)
        return Lake.open(self.settings)._catalog  # noqa: SLF001  (the connection of another process)

    def stock(self) -> IcebergTable:
        return self.foreign.load_table(self.name.key)

    @property
    def now(self) -> datetime:
        """By the clock of those who sweep."""
        return datetime.now(UTC) + self.ahead

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.end()
        finally:
            self.leave()
            self.lake.drop(self.name)
            if isinstance(self.foreign, SqlCatalog):
                self.foreign.engine.dispose()
            if self.s3 is not None:
                self.s3.close()
            shutil.rmtree(self.folder)

    def leave(self) -> None:
        """Before the folder goes, also after a failure."""

    def end(self) -> None:
        """What must be so when all has come to rest."""

    def batch(self, rows: Collection[Row]) -> pa.Table:
        return batch(self.writer.schema(), rows)

    def befallen(
        self, act: Callable[[], object], kill: tuple[int, bool] | None = None, other: dict[str, Any] | None = None
    ) -> Came:
        """Carry a step out: once, killed at a swap, or with somebody between its plan and its swap."""
        if kill is not None:
            return killed(self.catalog, kill, act)
        if other is not None:
            return overtaken(self.catalog, lambda: self.someone_acts(other), act)
        return tried(act)

    def someone_acts(self, other: dict[str, Any]) -> None:
        raise NotImplementedError

    def moved(self, state: State, kind: str) -> None:
        """Main has come to this state by a step of this kind."""
        self.model.main = state
        head = self.stock().current_snapshot()
        if head is not None and (not self.model.line or self.model.line[-1][0] != head.snapshot_id):
            self.model.line.append((head.snapshot_id, kind))

    @invariant()
    def nothing_is_lost(self) -> None:
        World.done["steps"] += 1
        self.look()

    def look(self) -> None:
        table = self.stock()
        self._refs_are_kept(table)
        self._every_file_is_there(table)
        self._rows_are_the_same(table)
        if (table.metadata_location, self.model.main) != self.looked_at:
            for scope in SCOPES:
                at = self.model.main.progress.get(scope)
                assert self.reader.progress(scope) == (None if at is None else {"at": at}), scope
        self.looked_at = (table.metadata_location, self.model.main)
        self.files.settle(self.now)

    def _refs_are_kept(self, table: IcebergTable) -> None:
        refs = table.metadata.refs
        mine = {name for name in refs if not name.startswith(PASSING)} - {MAIN}
        assert mine == {*self.model.branches, *self.model.tags}
        assert {name: refs[name].snapshot_id for name in self.model.tags} == self.model.tags

    def _every_file_is_there(self, table: IcebergTable) -> None:
        """I-b: whatever snapshot a reader takes, all its files are there."""
        missing = self.reached.of_table(table) - self.files.listed().keys()
        assert not missing

    def _rows_are_the_same(self, table: IcebergTable) -> None:
        """I-g, I-d: each ref shows its rows, and each snapshot for ever the rows that it has shown."""
        metadata, model = table.metadata, self.model
        for ref, state in model.refs().items():
            head = metadata.snapshot_by_name(ref)
            if head is None:
                assert not state.rows
                continue
            known = model.states.setdefault(head.snapshot_id, state)
            assert known == state, ref
        for snapshot in metadata.snapshots:
            number = snapshot.snapshot_id
            if number not in model.rows:
                state = model.states.get(number)
                model.rows[number] = self.read(number, table)
                assert state is None or state.rows == model.rows[number]

    def read(self, number: int, table: IcebergTable) -> Rows:
        """The rows of a snapshot, about which our scan, DuckDB and another program agree."""
        ours = rows_of(self.reader.scan(at=number).read_all())
        assert rows_of(self.duck.sql(f"from {self.reader.relation_sql(number)}").to_arrow_table()) == ours, number
        assert rows_of(table.scan(snapshot_id=number).to_arrow()) == ours
        return tuple(ours)
