"""Late data: how long sensors take to see it, and how long it takes from a late file's arrival to correct gold.

`tick_s`: one tick of a landing sensor over 10,000 files, one of them new since the last, the slowest of five;
`tick_first_s`: the first, to which all are new. `evaluation_s`: one tick of the sensor `changes` and the evaluation of
the automation conditions after it, over 50 daily tables of three years, the slowest of five, each after rows of three
old days came to every loaded table; `evaluation_idle_s` with nothing new, `evaluation_first_s` with nothing remembered.
`late_file_to_gold_*`: the whole, on the shop, with `lakehouse ui` and its daemon as they are, one file after the other:
from the moment it lies there until silver and gold say what plain SQL over the sources says.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg

from assets_tests.live.api import Dagster, wait_until
from assets_tests.live.oracle import differing_days, found
from assets_tests.live.server import Server
from assets_tests.live.sources import Sources, day
from bench import windows_tables
from bench.report import report
from lakehouse.contracts import read_tables
from lakehouse.orchestration.project import definitions, ready_models
from lakehouse.settings import Settings, load_settings
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest

_START = date(2026, 1, 1)
_DAYS = 365
_REPEATS = 5
_PATIENCE_SECONDS = 300
_SHOP_DAYS = 30


class Sensors:
    """A project's sensors, ticked by hand as the daemon ticks them, each with the cursor of its last tick."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._definitions, self._instance = definitions(settings), instance
        self._cursors: dict[str, str | None] = {}
        self._evaluated: dg.EvaluateAutomationConditionsResult | None = None

    def tick(self, name: str) -> tuple[float, int]:
        """Seconds, and how many asset events the tick reported; they are in the instance then."""
        sensor = self._definitions.resolve_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self._instance, definitions=self._definitions, cursor=self._cursors.get(name)
        )
        began = time.perf_counter()
        asked = sensor.evaluate_tick(context)
        seconds = time.perf_counter() - began
        self._cursors[name] = asked.cursor
        for event in asked.asset_events:
            self._instance.report_runless_asset_event(event)
        return seconds, len(asked.asset_events)

    def evaluate(self) -> tuple[float, int]:
        """Seconds, and how many days of tables the automation conditions ask for."""
        began = time.perf_counter()
        cursor = self._evaluated.cursor if self._evaluated else None
        self._evaluated = dg.evaluate_automation_conditions(
            self._definitions,
            self._instance,
            asset_selection=dg.AssetSelection.all(),
            cursor=cursor,
            evaluation_time=datetime.now(UTC),
        )
        return time.perf_counter() - began, self._evaluated.total_requested


def landing(folder: Path, files: int) -> dict[str, float]:
    """Ticks over a landing folder of so many files, of a year."""
    settings = load_settings(Path.cwd(), state=str(folder), catalog={"uri": f"sqlite:///{folder}/catalog.db"})
    ready_models(settings)
    place = folder / "landing" / "payments"
    place.mkdir(parents=True)

    def deliver(number: int) -> None:
        name = f"payments-{_START + timedelta(days=number % _DAYS)}-{number}.jsonl"
        (place / name).write_text("{}\n", encoding="utf-8")

    for number in range(files):
        deliver(number)
    with dg.DagsterInstance.ephemeral() as instance:
        sensors = Sensors(settings, instance)
        first, _ = sensors.tick("payments_landing")
        seconds = []
        for number in range(files, files + _REPEATS):
            deliver(number)
            took, events = sensors.tick("payments_landing")
            _must(events == 1, f"a new file is one event, not {events}")
            seconds.append(took)
        idle, _ = sensors.tick("payments_landing")
    return {"tick_s": max(seconds), "tick_first_s": first, "tick_idle_s": idle, "tick_files": float(files)}


def evaluation(folder: Path, tables: int, days: int) -> dict[str, float]:
    """Ticks and evaluations over so many daily tables of so many days."""
    settings = windows_tables.write(folder, tables)
    ready_models(settings)
    declared = read_tables(settings.defs)
    parents = windows_tables.parents_of(Manifest.read(manifest_path(settings)), declared)
    windows_tables.fill(settings, parents, days)
    readers = sum(name.layer.value == "silver" for name in declared)
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
        instance = stack.enter_context(dg.DagsterInstance.local_temp(home))
        sensors = Sensors(settings, instance)
        first, idle = _look(sensors), _look(sensors)
        seconds = []
        for number in range(_REPEATS):
            late = [windows_tables.START + timedelta(days=7 * one + number) for one in (3, 20, 50)]
            windows_tables.late_rows(settings, declared, late, f"late {number}")
            took = _look(sensors)
            _must(took[1] == len(late) * readers, f"{took[1]} days are told, not {len(late) * readers}")
            _must(took[2] >= took[1], f"{took[2]} days are asked for")
            seconds.append(took[0])
    _must(first[1] == idle[1] == 0, "nothing is out of date at first")
    return {"evaluation_s": max(seconds), "evaluation_first_s": first[0], "evaluation_idle_s": idle[0]}


def _look(sensors: Sensors) -> tuple[float, int, int]:
    """Seconds of both sensors, the days that one tells and that the other asks for."""
    ticked, told = sensors.tick("changes")
    evaluated, asked = sensors.evaluate()
    return ticked + evaluated, told, asked


def late_files(state: Path, trials: int, scale: float) -> dict[str, float]:
    """Late files of the shop, one after the other, each until gold is right and Dagster at rest."""
    settings = load_settings(Path.cwd(), state=str(state))
    server = Server(Path.cwd(), state)
    seconds = []
    try:
        server.run("demo", "--days", str(_SHOP_DAYS), "--scale", str(scale))
        began = time.time()
        server.start()
        dagster, sources = Dagster(server.url), Sources(settings)
        _rest(dagster, began)
        for trial in range(trials):
            began = time.time()
            seconds.append(_late_file(settings, sources, day(1 + 7 * trial % (_SHOP_DAYS - 2))))
            _rest(dagster, began)
    finally:
        server.stop()
        server.run("service", "down", "--remove")
    return {
        "late_file_to_gold_p95_s": sorted(seconds)[max(0, -(-95 * trials // 100) - 1)],
        "late_file_to_gold_median_s": statistics.median(seconds),
        "late_file_to_gold_max_s": max(seconds),
        "late_file_trials": float(trials),
    }


def _late_file(settings: Settings, sources: Sources, late: date) -> float:
    """Seconds from the moment that a file of a day lies there until gold is right."""
    sources.deliver(late)
    began, truth = time.perf_counter(), sources.truth()
    wait_until(lambda: not differing_days(found(settings), truth), "gold is right", _PATIENCE_SECONDS)
    return time.perf_counter() - began


def _rest(dagster: Dagster, since: float) -> None:
    wait_until(lambda: dagster.at_rest(since), "Dagster comes to rest", _PATIENCE_SECONDS)


def _must(true: bool, what: str) -> None:
    if not true:
        raise SystemExit(f"the figures would mean nothing: {what}")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="in the landing folder")
    parser.add_argument("--tables", type=int, default=50)
    parser.add_argument("--days", type=int, default=3 * 365, help="of each table")
    parser.add_argument("--trials", type=int, default=20, help="late files; 0: none, and no UI")
    parser.add_argument("--scale", type=float, default=1.0, help="of the shop")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        places = {name: Path(folder) / name for name in ("landing", "tables", "shop")}
        for place in places.values():
            place.mkdir()
        if words.files:
            figures |= landing(places["landing"], words.files)
        if words.tables:
            figures |= evaluation(places["tables"], words.tables, words.days)
        if words.trials:
            figures |= late_files(places["shop"], words.trials, words.scale)
    report("windows", figures, {}, words.json)


if __name__ == "__main__":
    main()
