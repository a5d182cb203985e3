"""A process killed at each step of each work on a table: done again, it is as if nothing had happened.

What is done, and its steps, is `killed.py`, which runs as a child: every case is a process that dies by SIGKILL. A step
is a file that is complete, or a swap that the catalog has made.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import BranchMissing
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.progress import RUN_KEY, history, summary_of
from lakehouse.iceberg.duck import connect
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Catalog, Settings, load_settings
from lakehouse.tables import TableName

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).parent / "killed.py"
HERE: dict[str, Any] = runpy.run_path(str(CHILD))
WORKS, BEGIN, END = HERE["WORKS"], HERE["BEGIN"], HERE["END"]
CASES = [(work, step) for work, what in WORKS.items() for step in what.steps]


@dataclass(frozen=True)
class Killed:
    """The lake in which every case has run; and how each ended, by work and case."""

    settings: Settings
    cases: dict[tuple[str, str], dict[str, Any]]

    @cached_property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    @cached_property
    def duck(self) -> duckdb.DuckDBPyConnection:
        return connect(self.settings)

    @cached_property
    def stock(self) -> SqlCatalog:
        given = self.settings.catalog
        return SqlCatalog(given.name, uri=given.uri.get_secret_value(), warehouse=self.settings.warehouse)

    def name(self, work: str, case: str) -> TableName:
        return HERE["contract"](HERE["table_name"](work, case)).name  # type: ignore[no-any-return]  # the child's

    def table(self, work: str, case: str) -> LakeTable:
        return self.lake.table(self.name(work, case))

    def stored(self, work: str, case: str) -> IcebergTable:
        return self.stock.load_table(self.name(work, case).key)

    def rows(self, work: str, case: str, ref: str) -> list[int]:
        """The order ids of a ref, as DuckDB and stock PyIceberg both read them."""
        name, stored = self.name(work, case), self.stored(work, case)
        told = self.duck.sql(f"select order_id from {self.lake.relation_sql(name, ref)} order by 1").fetchall()
        head = stored.snapshot_by_name(ref)
        read = [] if head is None else stored.scan(snapshot_id=head.snapshot_id).to_arrow()["order_id"].to_pylist()
        assert [number for (number,) in told] == sorted(read)
        return sorted(read)

    def state(self, work: str, case: str, ref: str = "main") -> tuple[list[int], object, int]:
        """What a ref shows: rows, progress, and how many snapshots of the load are in its history."""
        metadata = self.stored(work, case).metadata
        past = history(metadata, metadata.snapshot_by_name(ref))
        runs = sum(summary_of(snapshot).get(RUN_KEY) == "load" for snapshot in past)
        return self.rows(work, case, ref), self.table(work, case).progress("shop", branch=ref), runs


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Every case, run once by one child."""
    state = tmp_path_factory.mktemp("killed")
    catalog = Catalog(name=uuid.uuid4().hex, uri=f"sqlite:///{state}/catalog.db")
    if request.param == "postgres":
        server: EmbeddedPostgres = request.getfixturevalue("postgres")
        catalog = Catalog(name=catalog.name, uri=server.uri("iceberg", driver="postgresql+psycopg"))
    settings = load_settings(ROOT, state=str(state), catalog=catalog.model_dump())
    Lake.open(settings)
    given = [str(state), settings.warehouse, catalog.name, catalog.uri.get_secret_value()]
    # One manifest after another, as data files are.
    alone = {**os.environ, "PYICEBERG_MAX_WORKERS": "1"}
    command = [sys.executable, str(CHILD), *given]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=alone)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    made = Killed(settings, {(case["work"], case["case"]): {**case, "stderr": done.stderr} for case in told})
    yield made
    made.duck.close()
    made.stock.engine.dispose()


@pytest.fixture
def orphans() -> Callable[[IcebergTable], list[str]]:
    """orphans(table): the files in its folder that no snapshot, and no metadata that it remembers, leads to."""

    def find(table: IcebergTable) -> list[str]:
        metadata = table.metadata
        reached = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
        for snapshot in metadata.snapshots:
            reached.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(table.io):
                reached.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                reached |= {entry.data_file.file_path for entry in entries}
        known = {path.removeprefix("file://") for path in reached}
        there = {str(path) for path in Path(metadata.location.removeprefix("file://")).rglob("*") if path.is_file()}
        assert known <= there, "a live file is missing"
        return sorted(there - known)

    return find


@pytest.mark.parametrize("work", WORKS)
def test_a_work_has_the_steps_it_names(killed: Killed, work: str) -> None:
    """Not killed, it says exactly these; so each of them is one at which it is killed below."""
    case = killed.cases[work, END]
    assert (case["code"], tuple(case["reached"])) == (0, WORKS[work].steps), case["stderr"]


@pytest.mark.parametrize(("work", "step"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_after_a_kill_the_same_work_is_done_once(
    killed: Killed, orphans: Callable[[IcebergTable], list[str]], work: str, step: str
) -> None:
    what, case = WORKS[work], killed.cases[work, step]
    reached = list(what.steps[: what.steps.index(step) + 1])
    assert (case["code"], case["reached"]) == (-signal.SIGKILL, reached), case["stderr"]

    # Readers see all rows of it or none; it counts as done with the rows, or after them and never before.
    shown, done = (END if step in reached else BEGIN for step in (what.shows, what.done or what.shows))
    rows, *said = killed.state(work, step)
    assert rows == killed.state(work, shown)[0]
    assert said == list(killed.state(work, done)[1:])
    # What no swap has named is left for upkeep, and nothing else is.
    swaps = [number for number, name in enumerate(reached, start=1) if name.startswith("swap")]
    left = orphans(killed.stored(work, step))
    assert len(left) == len(reached) - max(swaps, default=0)

    published_and_dropped = work.startswith("publish") and step == what.steps[-1]
    with pytest.raises(BranchMissing) if published_and_dropped else nullcontext():
        what.act(killed.table(work, step))
    assert killed.state(work, step) == killed.state(work, END)
    assert killed.state(work, step, what.branch) == killed.state(work, END, what.branch)
    after, whole = killed.stored(work, step), killed.stored(work, END)
    assert len(after.metadata.refs) == len(whole.metadata.refs) + (step in what.leaves)
    assert orphans(after) == left
