"""The demo as runs of the Dagster instance: the shop lives some days, then its tables are loaded and rebuilt.

What the shop is belongs in `demo/`; how the outcome is printed in `cli/demo.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

import dagster as dg

from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.runs import RunReport, StepFailure, run_tables, run_url
from lakehouse.settings import Settings
from lakehouse.tables import Layer, TableName, Window
from lakehouse.tables.window import spans

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.demo import Shop

DOMAIN = "shop"
LOAD_AFTER = (10, 20, 30)
"""The demo loads after these days, so that histories have something to hold."""

Say = Callable[[str], None]

PAYMENTS = TableName.parse("bronze.payments")
_JUDGED_LINES = 20
"""A file of fewer lines is not held against the scale of the others: see the contract of bronze.payments."""


class BrokenRule(TypedDict):
    """A rule that held something back. `sample` is how many failing rows are shown."""

    rule: str
    severity: str
    observed: str
    sample: int


class Stopped(TypedDict):
    """A delivery that the gate kept out: what came, the rules that held it back, and whether gold is as it was."""

    file: str
    run_id: str
    url: str
    rules: list[BrokenRule]
    gold_unchanged: bool


@dataclass
class Outcome:
    """What a demo command did: the last figures of every table, and the last result of every check."""

    started: float = field(default_factory=time.monotonic)
    seconds: dict[TableName, float] = field(default_factory=dict)
    checks: dict[tuple[TableName, str], tuple[bool, str]] = field(default_factory=dict)
    failures: list[StepFailure] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    stopped: Stopped | None = None

    def add(self, report: RunReport) -> bool:
        """Take a run in; say whether it succeeded."""
        self.runs.append(report.run_id)
        self.failures += report.failures
        for name, seconds in report.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        for name, check, passed, severity in report.checks:
            self.checks[name, check] = (passed, severity)
        return report.success

    def reasons(self) -> dict[str, list[str]]:
        """What went wrong, each reason once, with the steps that it stopped."""
        found: dict[str, list[str]] = {}
        for failure in self.failures:
            steps = found.setdefault(failure.reason, [])
            if failure.step not in steps:
                steps.append(failure.step)
        return found

    @property
    def exit_code(self) -> int:
        """0 well, 1 findings (a check failed, rows were refused), 2 error (a source or a model is broken)."""
        if any(not failure.finding for failure in self.failures):
            return 2
        return 1 if self.failures or self.count()["failed"] else 0

    def count(self, name: TableName | None = None) -> dict[str, int]:
        """Checks passed, warned and failed, of one table or of all."""
        found = [result for (table, _), result in self.checks.items() if name in {None, table}]
        warned = sum(not passed and severity == "WARN" for passed, severity in found)
        passed = sum(passed for passed, _ in found)
        return {"passed": passed, "warned": warned, "failed": len(found) - passed - warned}


class DemoRuns:
    """Loads the shop's tables through the project's own definitions and instance."""

    def __init__(self, settings: Settings, defs: dg.Definitions, declarations: Declarations) -> None:
        self._settings = settings
        self._defs = defs
        self._declarations = declarations
        self._graph = ModelGraph.read(settings, declarations)
        self._tables = [table for table in declarations.values() if table.domain == DOMAIN]
        self._views = [spec.key for spec in defs.resolve_all_asset_specs() if spec.group_name == f"{DOMAIN}_staging"]

    def first_days(self, shop: Shop, days: int, say: Say) -> Outcome:
        """Bring the shop to day `days`, loading after day 10, 20 and 30; one that is there already is loaded again.

        The last time, where gold is there to be protected, the newest payment file first comes with a mistake in it.
        """
        outcome = Outcome()
        stops = [day for day in sorted({*LOAD_AFTER, days}) if shop.day < day <= days] or [shop.day]
        with open_instance(self._settings) as instance:
            for stop in stops:
                if stop > shop.day:
                    say(f"the shop lives to day {stop}")
                    files = shop.advance(stop - shop.day)
                    if stop == stops[-1] and files and outcome.runs:
                        self._bad_delivery(instance, shop, files[-1], outcome, say)
                last = stop == stops[-1]
                if not self._load(instance, outcome, say, everything=last, reported=last):
                    break
        return outcome

    def advance(self, shop: Shop, days: int, late: int, say: Say) -> Outcome:
        """Let the shop live on, `late` payment files of past days arriving too, and rebuild the days that changed."""
        outcome = Outcome()
        say(f"the shop lives from day {shop.day} to day {shop.day + days}")
        shop.advance(days, late=late)
        with open_instance(self._settings) as instance:
            self._load(instance, outcome, say, everything=False)
        return outcome

    def _bad_delivery(self, instance: dg.DagsterInstance, shop: Shop, file: str, outcome: Outcome, say: Say) -> None:
        """The provider sends a file whose amounts are in cents; it is loaded, stopped, and sent again as it should be.

        Its run stays in the instance as failed. A file of a shop so small that none would notice is left as it is.
        """
        try:
            if shop.send_in_cents(file) < _JUDGED_LINES:
                return
            say(f"{file} comes with amounts in cents")
            before = self._gold_heads()
            report = run_tables(self._defs, instance, [PAYMENTS])
            outcome.runs.append(report.run_id)
            outcome.seconds[PAYMENTS] = sum(report.seconds.values())
            outcome.stopped = self._stopped(file, report, before)
        finally:
            shop.send_corrected(file)
        if outcome.stopped is None:
            reason = f"{file} came with amounts in cents, and no rule of {PAYMENTS} stopped it"
            outcome.failures.append(StepFailure("the demo", reason, finding=False))
        else:
            said = "; ".join(f"{broken['rule']}, {broken['observed']}" for broken in outcome.stopped["rules"])
            say(f"{PAYMENTS} is held: {said}")
            say("the provider sends the file again, as it ought to be")

    def _stopped(self, file: str, report: RunReport, before: dict[str, int]) -> Stopped | None:
        from lakehouse.quality.report import report as last_results

        results = last_results(self._settings, self._declarations, names=[PAYMENTS]).results
        found = [one for one in results if one.blocks and one.run_id == report.run_id]
        if not found or report.success:
            return None
        return Stopped(
            file=file,
            run_id=report.run_id,
            url=run_url(self._settings, report.run_id),
            rules=[
                BrokenRule(
                    rule=f"{one.table}.{one.rule}",
                    severity=one.severity.value,
                    observed=one.observed,
                    sample=len(one.sample),
                )
                for one in found
            ],
            gold_unchanged=before == self._gold_heads(),
        )

    def _gold_heads(self) -> dict[str, int]:
        """The snapshots of gold that everybody sees."""
        from lakehouse.iceberg import Lake

        lake = Lake.open(self._settings)
        return {str(name): lake.table(name).snapshots()[0].id for name in self._names({Layer.GOLD})}

    def _load(
        self, instance: dg.DagsterInstance, outcome: Outcome, say: Say, *, everything: bool, reported: bool = True
    ) -> bool:
        say("loading bronze")
        # What the checks of past days said nobody would look at, and to say it takes a third of the demo's time.
        job = None if reported else f"{DOMAIN}_past_days"
        bronze = self._names({Layer.BRONZE})
        # Which days are out of date is known once the models without days have followed what was loaded.
        follow = not everything and self._built()
        first = self._graph.along_with(bronze) if follow else frozenset(bronze)
        loaded = run_tables(self._defs, instance, sorted(first), also=self._views if follow else (), unreported=job)
        if not outcome.add(loaded):
            return False
        window = _hull(
            self._known_days() if everything else [*loaded.windows, *(self._out_of_date() if follow else ())]
        )
        # Without a changed day the chain has nothing to do, the other models still may.
        models = [
            table.name
            for table in self._tables
            if table.name.layer in {Layer.SILVER, Layer.GOLD} and (window or not table.windowed)
            if table.name not in first
        ]
        say(f"building silver and gold for the days {window}" if window else "building silver and gold")
        return outcome.add(run_tables(self._defs, instance, models, also=self._views, window=window, unreported=job))

    def _built(self) -> bool:
        """Whether the daily tables are there, so that they can be out of date."""
        from lakehouse.iceberg import Lake

        return self._graph.daily <= set(Lake.open(self._settings).names())

    def _out_of_date(self) -> Iterable[Window]:
        """The days of the chain whose inputs have changed: a payment may come long after its order."""
        from lakehouse.changes import stale_days
        from lakehouse.iceberg import Lake

        lake = Lake.open(self._settings)
        for stale in stale_days(self._settings, lake, self._declarations, self._graph.parents).values():
            yield from spans(stale.days)

    def _known_days(self) -> Iterable[Window]:
        from lakehouse.iceberg.query import run_query

        for table in self._tables:
            if table.name.layer is Layer.BRONZE and table.window_column:
                sql = f"select min({table.window_column}), max({table.window_column}) from {table.name}"
                first, last = (column[0].as_py() for column in run_query(self._settings, sql).columns)
                if first is not None:
                    yield Window.of_days(first, last)

    def _names(self, layers: set[Layer]) -> list[TableName]:
        return [table.name for table in self._tables if table.name.layer in layers]


class TableFigures(TypedDict):
    """One table of `demo.json`."""

    table: str
    rows: int
    files: int
    snapshot_id: int | None
    seconds: float


class Figures(TypedDict):
    """`demo.json`. `stopped` is None where no bad delivery was part of the demo."""

    seconds: float
    tables: list[TableFigures]
    checks: dict[str, int]
    stopped: Stopped | None


def summary(settings: Settings, outcome: Outcome) -> Figures:
    """What the tables hold now, and what the demo command took and found."""
    from lakehouse.iceberg import Lake

    lake = Lake.open(settings)
    tables: list[TableFigures] = []
    for name in sorted(outcome.seconds):
        stored = lake.table(name)
        stats, snapshots = stored.stats(), stored.snapshots()
        tables.append(
            {
                "table": str(name),
                "rows": stats.rows,
                "files": stats.files,
                "snapshot_id": snapshots[0].id if snapshots else None,
                "seconds": round(outcome.seconds[name], 2),
            }
        )
    return {
        "seconds": round(time.monotonic() - outcome.started, 1),
        "tables": tables,
        "checks": outcome.count(),
        "stopped": outcome.stopped,
    }


def _hull(windows: Iterable[Window]) -> Window | None:
    found = sorted(windows)
    if not found:
        return None
    return Window.of_days(found[0].start, max(window.end for window in found) - timedelta(days=1))
