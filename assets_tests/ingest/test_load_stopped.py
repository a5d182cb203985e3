"""Loads that are killed, overtaken or stopped: the next one loads each row once."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows, write
from lakehouse.errors import Fenced, LoadRejected
from lakehouse.iceberg import Lake
from lakehouse.ingest import Door, LoadResult, load
from lakehouse.ingest.intake import Intake
from lakehouse.ingest.quarantine import collecting
from lakehouse.ledger import LOADS
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Extract
from lakehouse.tables import Table

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id", "amount"])


def test_a_load_killed_between_rejects_and_bronze_is_done_again_without_doubling(
    sources: Settings, lake: Lake, payments: Table, tmp_path: Path
) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), "{broken", paid("P2"), paid("P3"))
    script = textwrap.dedent(
        """
        import os, pickle, sys
        from lakehouse.iceberg import Lake, LakeTable
        from lakehouse.ingest import load
        from lakehouse.tables import Layer

        settings, table = pickle.load(open(sys.argv[1], "rb"))
        append = LakeTable.append

        def die_before_bronze(self, rows, **promises):
            if self.name.layer is Layer.BRONZE:
                rows.read_all()
                os._exit(9)
            return append(self, rows, **promises)

        LakeTable.append = die_before_bronze
        load(settings, Lake.open(settings), table, run_id="killed")
        """
    )
    (tmp_path / "task").write_bytes(pickle.dumps((sources, payments)))
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path / "task")], check=False, capture_output=True)
    assert died.returncode == 9, died.stderr.decode()
    assert (len(rows(lake, QUARANTINE)), rows(lake, payments.name)) == (2, [])

    write(sources, "b.jsonl", paid("P4"), paid(None))
    result = load(sources, lake, payments, run_id="again")
    assert ids(lake, payments) == ["P1", "P2", "P3", "P4"]
    assert (result.rows_quarantined, result.rows_seen, len(rows(lake, QUARANTINE))) == (1, 2, 3)
    assert balanced(result)


def test_of_two_loads_of_different_intervals_one_is_fenced(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None))
    inner: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not inner:
            write(sources, "b.jsonl", paid("P2"))
            inner.append(load(sources, lake, payments, run_id="faster"))

    with pytest.raises(Fenced):
        load(sources, lake, payments, run_id="slower", on_progress=meanwhile)
    assert inner[0].rows_published == 2
    assert ids(lake, payments) == ["P1", "P2"]
    assert len(rows(lake, QUARANTINE)) == 1
    assert load(sources, lake, payments, run_id="next").commit is None


def test_two_loads_of_the_same_interval_make_one_snapshot(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2"))
    inner: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not inner:
            inner.append(load(sources, lake, payments, run_id="faster"))

    outer = load(sources, lake, payments, run_id="slower", on_progress=meanwhile)
    assert outer.commit is not None
    assert outer.commit.already_done
    assert inner[0].commit is not None
    assert outer.commit.snapshot_id == inner[0].commit.snapshot_id
    assert (outer.rows_read, outer.rows_published, outer.rows_quarantined, outer.rows_seen) == (3, 2, 1, 0)
    assert ids(lake, payments) == ["P1", "P2"]
    assert len(rows(lake, QUARANTINE)) == len(rows(lake, LOADS.name)) == 1


def test_a_failure_midway_publishes_nothing(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"))

    def stop(_rows: int, _what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(sources, lake, payments, run_id="1", on_progress=stop)
    assert lake.table(payments.name).snapshots() == ()
    assert load(sources, lake, payments, run_id="2").rows_published == 1


def test_rows_that_the_source_counted_and_nobody_saw_stop_the_load(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    chunk = Chunk(pa.table({"payment_id": ["P1"], "amount": ["1"]}), "somewhere")
    with Door(payments) as door, collecting(sources.state / "tmp") as rejects:
        extract = Extract(iter([chunk]), {"x": 1}, expected_rows=2)
        intake = Intake(lake, payments, extract, door, rejects, began_at=datetime.now(UTC), run_key="k")
        with pytest.raises(
            LoadRejected, match=r"does not add up.*expected 2 rows.*found 1 read, 1 good, 0 seen before, 0 rejected"
        ):
            list(intake.batches())
