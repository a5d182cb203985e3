"""The whole demo, kept up: Spark reads every table of it, on the PostgreSQL that the project runs itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets_tests.interop.conftest import OpenReaders
from assets_tests.interop.readers import Readers, Rows
from lakehouse.settings import load_settings
from lakehouse.tables import Layer, TableName
from lakehouse.upkeep import UpkeepReport, keep_up

pytestmark = pytest.mark.interop

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("lakehouse")
SIZE = ("--scale", "0.05", "--days", "12")
PATIENCE_SECONDS = 900


@dataclass(frozen=True)
class Kept:
    """The demo's tables after upkeep: what was read of each at each ref before, and what upkeep did."""

    readers: Readers
    before: dict[tuple[TableName, str], Rows]
    reports: list[UpkeepReport]


@pytest.fixture(scope="module")
def kept(open_readers: OpenReaders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    state = tmp_path_factory.mktemp("demo")
    try:
        made = command(state, "demo", *SIZE)
        assert made.returncode == 0, made.stderr
        with open_readers(load_settings(ROOT, state=str(state))) as readers:
            yield upkept(readers)
    finally:
        command(state, "service", "down", "--remove")


def command(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    here = {**kept, "LAKEHOUSE_STATE": str(state), "LAKEHOUSE_PROJECT": str(ROOT)}
    words = (str(COMMAND), *words)
    return subprocess.run(words, env=here, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def upkept(readers: Readers) -> Kept:
    """Upkeep of every table, a week and more after its rows came: what is replaced, expires."""
    names = readers.lake.names()
    before = {(name, ref): readers.ours(name, ref) for name in names for ref in readers.refs(name)}
    later = datetime.now(UTC) + timedelta(days=6)
    reports = [
        keep_up(readers.settings, readers.lake, name, run_id=f"day {days}", now=later + timedelta(days=days))
        for days in (0, 4)
        for name in names
    ]
    return Kept(readers, before, reports)


def test_upkeep_had_something_to_do_and_did_it(kept: Kept) -> None:
    assert [report.troubles for report in kept.reports if report.troubles] == []
    assert sum(report.compaction is not None for report in kept.reports) > 0
    assert sum(report.expiry.snapshots_removed for report in kept.reports if report.expiry) > 0


def test_spark_reads_every_table_as_it_was_before_upkeep(kept: Kept) -> None:
    """At every branch and tag that is left. What upkeep itself writes down has grown, and is compared as it is."""
    readers = kept.readers
    layers = set()
    for name in readers.lake.names():
        for ref in readers.refs(name):
            found = readers.equal(name, ref)
            if name.layer is not Layer.OPS:
                assert found == kept.before[name, ref], f"{name} at {ref}"
        layers.add(name.layer)
    assert layers == set(Layer)
