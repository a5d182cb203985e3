"""The lake that everybody works on, and what must hold of it after each step.

Which steps there are belongs in `source.py`, `keeper.py` and `asker.py`; what the rows must be, in `model.py`.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Collection
from copy import deepcopy
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import ClassVar

import duckdb
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.changes.machine.chain import B_ORDERS, B_PAYMENTS, B_RATES, TABLES, day, number_of
from assets_tests.changes.machine.model import BORN, Model, Row, Rows
from assets_tests.exploring import Counted
from lakehouse.iceberg import Lake, LakeTable, connect
from lakehouse.settings import load_settings
from lakehouse.tables import TableName

ROOT = Path(__file__).resolve().parents[3]
FIRST: dict[TableName, list[Row]] = {
    B_ORDERS: [(number, BORN[number], "AB"[number % 2], 10 + number, number, False) for number in range(0, 12, 2)],
    B_PAYMENTS: [(number, number, 5, number, False) for number in range(0, 12, 3)],
    B_RATES: [("A", 0, 2, 0), ("B", 2, 3, 1), ("A", 31, 4, 2)],
}
"""What has come before anything is built."""


class World(Counted):
    folder: ClassVar[Path]
    """Where every example has its lake: files are named by their whole paths, so that a copy fits there only."""
    catalog: ClassVar[type[SqlCatalog]] = SqlCatalog
    done: ClassVar[Counter[str]] = Counter()
    first: ClassVar[dict[Path, Model]] = {}
    """By folder, what the model knows once all is built for the first time, which each example begins with."""
    connections: ClassVar[list[duckdb.DuckDBPyConnection]] = []

    def __init__(self) -> None:
        super().__init__()
        self.settings = load_settings(
            ROOT, state=str(self.folder), catalog={"uri": f"sqlite:///{self.folder}/catalog.db"}
        )
        # A new one takes longer than a step; its views are made anew before each use.
        if not World.connections:
            World.connections.append(connect(self.settings))
        self.duck = World.connections[0]
        # A run key that was used does nothing.
        self.numbers = count(2000 if self.folder in World.first else 1000)
        self.model = Model()
        kept = self.folder.with_name(f"{self.folder.name}-first")
        if self.folder in World.first:
            self.model = deepcopy(World.first[self.folder])
            shutil.copytree(kept, self.folder)
            self.open_lake()
        else:
            self.folder.mkdir()
            self.open_lake()
            for name, rows in FIRST.items():
                self.append(name, rows)
            self.begin()
            shutil.copytree(self.folder, kept)
            World.first[self.folder] = deepcopy(self.model)
        World.done["examples"] += 1

    def open_lake(self) -> None:
        self.lake = Lake.open(self.settings)
        self.tables: dict[TableName, LakeTable] = {name: self.lake.create(table) for name, table in TABLES.items()}
        self.schemas = {name: table.schema() for name, table in self.tables.items()}

    def begin(self) -> None:
        """All is built for the first time."""
        raise NotImplementedError

    def end(self) -> None:
        """What must be so when all has come to rest."""
        raise NotImplementedError

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.end()
        finally:
            self.lake._catalog.engine.dispose()  # type: ignore[attr-defined]  # noqa: SLF001  (of SQLite)
            shutil.rmtree(self.folder)

    def batch(self, name: TableName, rows: Collection[Row]) -> pa.Table:
        """Rows of the source, with what a load says about them."""
        schema = self.schemas[name]
        said = [datetime(2026, 3, 1, tzinfo=UTC), "source", "load", None, None]
        columns = list(zip(*[[*row, *said] for row in rows], strict=True))
        values = {
            field.name: [day(value) for value in column] if field.name == "day" else list(column)
            for field, column in zip(schema, columns, strict=True)
        }
        return pa.table(values, schema=schema)

    def append(self, name: TableName, rows: Collection[Row]) -> None:
        """A load brings rows to bronze."""
        self.tables[name].append(self.batch(name, rows), run_key=f"load{next(self.numbers)}")
        self.model.moved(name, self.model.content[name] | frozenset(rows))
        self.seen(name)

    def seen(self, name: TableName) -> None:
        """Main of a table holds what the model says; what it was at this snapshot is remembered."""
        table = self.lake.look(name)
        assert self.read(name, table) == self.model.content[name], name
        if (head := table.snapshot()) is not None:
            self.model.states.setdefault(head.id, self.model.state(name))

    def read(self, name: TableName, table: LakeTable | None = None) -> Rows:
        columns = [column.name for column in TABLES[name].columns]
        found = (table or self.tables[name]).scan(columns=columns).read_all()
        values = zip(*(found.column(column).to_pylist() for column in columns), strict=True)
        rows = [tuple(number_of(value) if isinstance(value, date) else value for value in row) for row in values]
        assert len(rows) == len(set(rows)), name
        return frozenset(rows)

    def head(self, name: TableName) -> int | None:
        found = self.lake.look(name).snapshot()
        return None if found is None else found.id

    def files(self, name: TableName, but: Collection[int]) -> frozenset[str]:
        """The data files of a daily table, but for those of some days."""
        skipped = {f"day_day={day(number)}" for number in but}
        return frozenset(file.path for file in self.tables[name].live_files() if file.partition not in skipped)
