"""The lake that everybody writes to, and what its readers must agree on after each step.

How a step is carried out belongs in `steps.py`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import ClassVar

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis.stateful import invariant
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from assets_tests.exploring import Counted
from assets_tests.iceberg.machine.model import Model
from assets_tests.iceberg.machine.states import EMPTY, SCOPES, File, Refs, Row, Run, State, january
from lakehouse.iceberg import MAIN, Lake, LakeTable, RestorePlan, connect
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = (Column("id", "long", required=True), Column("day", "date", required=True))
NAME = TableName(Layer.SILVER, "t")
FLOOR = "lakehouse.progress."


class World(Counted):
    duck: ClassVar[duckdb.DuckDBPyConnection | None] = None
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        uri = f"sqlite:///{self.folder}/catalog.db"
        lake_settings = load_settings(ROOT, state=str(self.folder), catalog={"uri": uri})
        World.duck = World.duck or connect(lake_settings)
        Lake.open(lake_settings).create(Table(NAME, "d", "", COLUMNS, Path("t.yaml"), window_column="day"))
        # Each has opened the lake for itself, as processes do: writers, then the auditor, the restorer.
        self.writers = [Lake.open(lake_settings).table(NAME) for _ in SCOPES]
        self.auditor, self.restorer = (Lake.open(lake_settings).table(NAME) for _ in range(2))
        self.stock = SqlCatalog(lake_settings.catalog.name, uri=uri, warehouse=lake_settings.warehouse)
        self.schema = self.auditor.schema()
        self.model = Model()
        self.runs: list[Run] = []
        self.plan: tuple[RestorePlan, State, State] | None = None
        self.ids: dict[State, int] = {}
        self.paths: dict[File, str] = {}
        self.read: Refs = {MAIN: EMPTY}
        self.numbers = count(1)
        World.done["examples"] += 1

    def teardown(self) -> None:
        self.stock.engine.dispose()
        shutil.rmtree(self.folder)

    def ref(self, pick: int) -> str:
        names = sorted(self.model.refs)
        return names[pick % len(names)]

    def branch(self, pick: int) -> str:
        names = sorted(set(self.model.refs) - {MAIN})
        return names[pick % len(names)]

    def batch(self, rows: Collection[Row]) -> pa.Table:
        values = {"id": [number for number, _ in rows], "day": [january(day) for _, day in rows]}
        return pa.table(values, schema=self.schema)

    def scanned(self, at: str | int) -> list[Row]:
        return _sorted(self.auditor.scan(at=at).read_all())

    @invariant()
    def every_reader_agrees(self) -> None:
        World.done["steps"] += 1
        self.look()

    def look(self) -> None:
        stock = self.stock.load_table(NAME.key)
        heads = {name: ref.snapshot_id for name, ref in stock.metadata.refs.items() if not name.startswith("rebase/")}
        for name, state in self.model.refs.items():
            if self.read.get(name) is not state:
                self.read_ref(name, state, stock)
        # The floor of progress is the table's, so that a move of one ref might change what another one says.
        for name, state in self.model.refs.items() if self.read != self.model.refs else ():
            for scope in SCOPES:
                at = state.progress.get(scope)
                assert self.writers[0].progress(scope, name) == (None if at is None else {"at": at})
        self.read = dict(self.model.refs)
        wanted = {**self.model.refs, **self.model.tags}
        assert {name: snapshot for name, snapshot in heads.items() if not name.startswith("restored/")} == {
            name: self.ids[state] for name, state in wanted.items() if state is not EMPTY
        }
        floor = {key.removeprefix(FLOOR): text for key, text in stock.properties.items() if key.startswith(FLOOR)}
        assert floor == {scope: f'{{"at":{at}}}' for scope, at in self.model.main.progress.items()}

    def read_ref(self, name: str, state: State, stock: IcebergTable) -> None:
        table: LakeTable = self.writers[0]
        past = table.snapshots(name)
        assert [(one.operation, one.run_key) for one in past] == [(one.operation, one.key) for one in state.history]
        self.ids.update(zip(state.history, [one.id for one in past], strict=True))
        assert self.scanned(name) == state.rows
        assert World.duck is not None
        theirs = World.duck.sql(f"select id, day from {table.relation_sql(name)}").fetchall()
        assert sorted((number, day.day) for number, day in theirs) == state.rows
        scan = stock.scan(snapshot_id=past[0].id)
        assert _sorted(scan.to_arrow()) == state.rows
        self.same_files(state, {task.file.file_path for task in scan.plan_files()})

    def same_files(self, state: State, live: set[str]) -> None:
        """The files that stayed are the same ones; each new one holds what one of the model's new ones holds."""
        fresh = live - {self.paths[file] for file in state.files if file in self.paths}
        unnamed = {file for file in state.files if file not in self.paths}
        assert len(fresh) == len(unnamed)
        for path in fresh:
            rows = _sorted(pq.read_table(path.removeprefix("file://"), partitioning=None))
            file = next(file for file in unnamed if file.rows == rows)
            unnamed.remove(file)
            self.paths[file] = path


def _sorted(table: pa.Table) -> list[Row]:
    pairs = zip(table["id"].to_pylist(), table["day"].to_pylist(), strict=True)
    return sorted((number, day.day) for number, day in pairs)
