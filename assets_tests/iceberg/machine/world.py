"""The lake that everybody writes to, and what its readers must agree on after each step.

How a step is carried out belongs in `steps.py`.
"""

from __future__ import annotations

import json
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
from assets_tests.iceberg.machine.states import EMPTY, SCOPES, File, Refs, Row, Run, State, january, rows_of
from lakehouse.iceberg import MAIN, Lake, LakeTable, RestorePlan, connect
from lakehouse.settings import load_settings
from lakehouse.tables import Column, Layer, Table, TableName

ROOT = Path(__file__).resolve().parents[3]
NAME = TableName(Layer.SILVER, "t")
TABLE = Table(
    name=NAME,
    domain="d",
    description="",
    columns=(Column("id", "int", required=True), Column("day", "date", required=True), Column("until", "date")),
    file=Path("t.yaml"),
    window_column="day",
)
FLOOR = "lakehouse.progress."
TOMBSTONES = "lakehouse.tombstones"


class World(Counted):
    duck: ClassVar[duckdb.DuckDBPyConnection | None] = None
    done: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        uri = f"sqlite:///{self.folder}/catalog.db"
        lake_settings = load_settings(ROOT, state=str(self.folder), catalog={"uri": uri})
        World.duck = World.duck or connect(lake_settings)
        self.evolver = Lake.open(lake_settings)
        self.evolver.create(TABLE)
        self.declared = TABLE
        # Each has opened the lake for itself, as processes do: writers, then the auditor, the restorer.
        self.writers = [Lake.open(lake_settings).table(NAME) for _ in SCOPES]
        self.auditor, self.restorer = (Lake.open(lake_settings).table(NAME) for _ in range(2))
        self.stock = SqlCatalog(lake_settings.catalog.name, uri=uri, warehouse=lake_settings.warehouse)
        self.model = Model()
        self.runs: list[Run] = []
        self.plan: tuple[RestorePlan, State, State] | None = None
        self.ids: dict[State, int] = {}
        self.paths: dict[File, str] = {}
        self.read: Refs = {MAIN: EMPTY}
        self.numbers = count(1)
        World.done["examples"] += 1

    @staticmethod
    def connection() -> duckdb.DuckDBPyConnection:
        assert World.duck is not None
        return World.duck

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
        return batch(self.auditor.schema(), rows)

    def scanned(self, at: str | int) -> list[Row]:
        return rows_of(self.auditor.scan(at=at).read_all())

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
        assert rows_of(World.connection().sql(f"from {table.relation_sql(name)}").to_arrow_table()) == state.rows
        scan = stock.scan(snapshot_id=past[0].id)
        assert rows_of(scan.to_arrow()) == state.rows
        tasks = list(scan.plan_files())
        self.same_files(state, {task.file.file_path for task in tasks})
        hidden = {self.paths[file] for file in state.files if file in state.masks}
        assert {task.file.file_path for task in tasks if task.delete_files} == hidden
        told = next((one.summary[TOMBSTONES] for one in past if TOMBSTONES in one.summary), "{}")
        assert remembered(told) == (state.tombs.days if state.tombs else {})

    def same_files(self, state: State, live: set[str]) -> None:
        """The files that stayed are the same ones; each new one holds what one of the model's new ones holds."""
        fresh = live - {self.paths[file] for file in state.files if file in self.paths}
        unnamed = {file for file in state.files if file not in self.paths}
        assert len(fresh) == len(unnamed)
        for path in fresh:
            rows = rows_of(pq.read_table(path.removeprefix("file://"), partitioning=None))
            file = next(file for file in unnamed if list(file.rows) == rows)
            unnamed.remove(file)
            self.paths[file] = path


def remembered(told: str) -> dict[int, int]:
    """The deleted keys that a summary names, each with the day of its deletion."""
    path = json.loads(told).get("path")
    rows = [] if path is None else pq.read_table(path.removeprefix("file://")).to_pylist()
    return {row["key_1"]: row["sequence"].day for row in rows}


def batch(schema: pa.Schema, rows: Collection[Row]) -> pa.Table:
    """Rows as the table has them; columns that came later are NULL."""
    ends = [january(row[2]) if row[2:] else None for row in rows]
    values = [[row[0] for row in rows], [january(row[1]) for row in rows], ends]
    values += [[None] * len(rows)] * (len(schema) - len(values))
    return pa.table(dict(zip(schema.names, values, strict=True)), schema=schema)
