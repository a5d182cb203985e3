"""A load that meets a fault: tried on a crooked way, watched on the straight one, and run again there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Commit, Lake, LakeTable, connect
from lakehouse.settings import Settings
from lakehouse.tables import Table

RUN: Any = {"run_key": "a", "progress": {"shop": {"w": 1}}}
PATIENCE_S = 60


@dataclass(frozen=True)
class Load:
    """`rows` for a `table` with one row, order 0. `settings` and `table` are the straight way to it."""

    settings: Settings
    table: LakeTable
    rows: pa.Table

    def over(self, uri: str, timeout_s: float) -> Settings:
        """The same lake with its catalog reached at `uri`."""
        changed = {"uri": SecretStr(uri), "timeout_s": timeout_s}
        return self.settings.model_copy(update={"catalog": self.settings.catalog.model_copy(update=changed)})

    def bent(self, crooked: Settings) -> LakeTable:
        return Lake.open(crooked).table(self.table.name)

    def tried(self, bent: LakeTable, act: Callable[[], object] = lambda: None) -> Commit | None:
        """The commit, or None for an error of ours; every other error is a failure of the test.

        `act` happens after the table was opened, and before anything is written.
        """

        def batches() -> Iterator[pa.RecordBatch]:
            yield from self.rows.to_batches()
            act()

        with suppress(LakehouseError):
            return bent.append(pa.RecordBatchReader.from_batches(self.rows.schema, batches()), **RUN)
        return None

    def settle(self, *, landed: bool | None) -> None:
        """The same load again, on the straight way: one snapshot of it, every row once, every live file there."""
        again = self.table.append(self.rows, **RUN)
        if landed is not None:
            assert again.already_done is landed
        assert [snapshot.run_key for snapshot in self.table.snapshots()].count("a") == 1
        wanted = sorted([0, *self.rows["order_id"].to_pylist()])
        assert sorted(self.table.scan(columns=["order_id"]).read_all()["order_id"].to_pylist()) == wanted
        assert self.table.progress("shop") == {"w": 1}
        with connect(self.settings) as duck:
            found = duck.sql(f"select order_id from {self.table.relation_sql()} order by 1").fetchall()
        assert [key for (key,) in found] == wanted

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody reads all the time, on the straight way: all of the load or nothing of it, and never an error."""
        seen: set[int] = set()
        failures: list[BaseException] = []
        done = threading.Event()

        def read() -> None:
            try:
                with connect(self.settings) as duck:
                    while not done.is_set():
                        seen.add(self.table.scan().read_all().num_rows)
                        [(number,)] = duck.sql(f"select count(*) from {self.table.relation_sql()}").fetchall()
                        seen.add(number)
            except BaseException as failure:  # noqa: BLE001  (told below, in the test's thread)
                failures.append(failure)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            yield
        finally:
            done.set()
            reader.join(PATIENCE_S)
        assert failures == []
        assert seen
        assert seen <= {1, 1 + self.rows.num_rows}


@pytest.fixture
def begin(orders: Table, named: Callable[[Table], Table], rows: Callable[..., pa.Table]) -> Callable[[Settings], Load]:
    """begin(settings): a table there with order 0, and orders 1 and 2 to be loaded."""

    def make(settings: Settings) -> Load:
        table = Lake.open(settings).create(named(orders))
        table.append(rows([0]), run_key="before")
        return Load(settings, table, rows([1, 2]))

    return make
