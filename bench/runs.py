"""Runs: how long one takes to begin, and to be over, with `lakehouse ui` as it is and with Dagster's default launcher.

A run builds `silver.customers` by dbt, with its rules, of a small shop; nothing else is under way. `begins`: from the
moment it is made until its first step; `ends`: until it has succeeded. Medians; the first run of each UI is left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import dagster as dg

from assets_tests.live.api import Dagster, wait_until
from assets_tests.live.server import Server
from bench.report import report
from lakehouse.orchestration.home import open_instance
from lakehouse.settings import Settings, load_settings

_PATIENCE_SECONDS = 120
_TABLE = "silver/customers"


def launched(settings: Settings, rounds: int, *, warm: bool) -> tuple[float, float]:
    """Median seconds until a run begins, and until it has ended."""
    server = Server(
        settings.project,
        settings.state,
        LAKEHOUSE_AUTOMATION__ENABLED="false",
        LAKEHOUSE_UI__WARM_RUNS=str(warm).lower(),
    )
    server.start()
    try:
        dagster = Dagster(server.url)
        times = [_times(settings, dagster) for _ in range(rounds + 1)][1:]
    finally:
        server.stop()
    begins, ends = zip(*times, strict=True)
    return statistics.median(begins), statistics.median(ends)


def _times(settings: Settings, dagster: Dagster) -> tuple[float, float]:
    run_id = dagster.launch(_TABLE)
    with open_instance(settings) as instance:

        def ended() -> bool:
            run = instance.get_run_by_id(run_id)
            return run is not None and run.is_finished

        wait_until(ended, "the run ends", _PATIENCE_SECONDS)
        record = instance.get_run_record_by_id(run_id)
        if record is None or record.end_time is None or not record.dagster_run.is_success:
            raise SystemExit(f"run {run_id} did not succeed")
        first = next(iter(instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_START)))
    made = record.create_timestamp.timestamp()
    return first.timestamp - made, record.end_time - made


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(Path.cwd(), state=folder)
        shop = Server(settings.project, settings.state)
        try:
            shop.run("demo", "--days", "3", "--scale", "0.05")
            warm, default = (launched(settings, words.rounds, warm=warm) for warm in (True, False))
        finally:
            shop.run("service", "down", "--remove")
    figures = dict(
        zip(("run_begins_s", "run_ends_s", "dagster_begins_s", "dagster_ends_s"), warm + default, strict=True)
    )
    ratios = {"run_begins_vs_dagster": default[0] / warm[0], "run_ends_vs_dagster": default[1] / warm[1]}
    report("runs", figures, ratios, words.json)


if __name__ == "__main__":
    main()
