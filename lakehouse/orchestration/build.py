"""One build inside a run: models on a branch, audited, published; and what became of it as Dagster's results.

Which models are one asset definition is `models.py`, what the run tells of days `days_told.py`. What a build and an
audit are belongs in `transform/` and `quality/`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.iceberg import MAIN, Lake
from lakehouse.orchestration.checks import check_result, held_sentence
from lakehouse.orchestration.days_told import DaysTold, Pace
from lakehouse.orchestration.lineage import lineage_url, project_lineage
from lakehouse.orchestration.metadata import lineage_metadata, table_metadata
from lakehouse.orchestration.recorded import StepRecord, record_step
from lakehouse.orchestration.specs import table_key
from lakehouse.orchestration.translator import NODE
from lakehouse.quality.finding import Finding
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Severity, TableName, Window
from lakehouse.telemetry import Meter
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.run import build
from lakehouse.transform.slices import Slice, Slices

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.transform.lineage import Columns

_UNCHANGED = "main unchanged"

Outcome = dg.AssetCheckResult | dg.AssetMaterialization | dg.MaterializeResult[None]


class Build:
    """The models and checks that one step was asked for, for one window."""

    def __init__(
        self,
        settings: Settings,
        declarations: Declarations,
        context: dg.AssetExecutionContext,
        *,
        window: Window | None,
        run_key: str,
    ) -> None:
        self._settings, self._declarations, self._context = settings, declarations, context
        self._run_key = run_key
        branch = f"run/{context.run.run_id[:8]}-{context.op_execution_context.op.name}"
        self._lake = Lake.open(settings)
        self._gate = Gate(settings, self._lake, declarations)
        self._slices = Slices(
            settings, self._lake, declarations, branch=branch, run_key=run_key, window=window, gate=self._gate
        )
        self._made: list[Slice] = []
        self._days = DaysTold(settings, declarations, self._lake, self._metadata)
        # A table may be built and tested more than once, when main moves meanwhile; its last news counts.
        self._models: dict[str, ModelFinished] = {}
        self._tests_of_slice: dict[str, TestFinished] = {}
        self._tests: dict[str, TestFinished] = {}
        self._found: dict[tuple[TableName, str], Finding] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Build, audit and publish; yields every check, then every table that became visible. Raises dg.Failure.

        Of several slices, the days of each are told when it has ended. Checks that were asked for without their table
        are judged on main, and nothing is built for them.
        """
        trouble = yield from self._carried_out()
        findings = tuple(self._found.values())
        judged_on_main = {finding.table for finding in findings if finding.branch == MAIN}
        record = record_step(
            self._settings,
            self._lake,
            self._gate,
            self._context,
            findings=findings,
            published={*self._published, *judged_on_main} - {*self._bad},
        )
        yield from self._checked(record)
        yield from self._materialized()
        if trouble is not None:
            raise trouble
        self._fail_if_held()
        record.raise_trouble()

    @property
    def _published(self) -> dict[TableName, int | None]:
        return {name: snapshot for made in self._made for name, snapshot in made.published.items()}

    @property
    def _bad(self) -> set[TableName]:
        """Tables of which something is not visible."""
        return {name for made in self._made for name in made.held}

    def _carried_out(self) -> Generator[Outcome, None, Exception | None]:
        """Do the work. What stops it half-way is given back, so that what was found until then is told first."""
        try:
            labels = sorted(".".join(key.path) for key in self._context.selected_asset_keys)
            if labels:
                yield from self._build(labels)
            self._judge_main()
        except Exception as error:  # noqa: BLE001  (raised again by `outcomes`)
            return error
        finally:
            self._remember()
        return next((made.error for made in self._made if made.error is not None), None)

    def _build(self, labels: list[str]) -> Iterator[Outcome]:
        several = len(self._slices.windows) > 1
        pace = Pace(self._slices.windows, self._context.log.info)
        meter = Meter("silver and gold", total=len(labels) * len(self._slices.windows), unit="models", every=0)
        for one in self._slices.run(labels):
            if not isinstance(one, Slice):
                self._seen(one, meter)
                continue
            self._made.append(one)
            self._remember()
            pace.add(one)
            if several:
                yield from self._days.of(one)
        meter.finish()

    def _judge_main(self) -> None:
        """The checks of tables that are not built here: of what everybody sees already."""
        alone = [spec for spec in self._specs.values() if spec.key.asset_key not in self._context.selected_asset_keys]
        rules: dict[TableName, list[str]] = {}
        for spec in alone:
            if NODE not in spec.metadata:
                rules.setdefault(TableName.parse(".".join(spec.key.asset_key.path)), []).append(spec.name)
        for name in sorted(rules):
            self._gate.audit(name, rules=rules[name])
        known = Manifest.read(manifest_path(self._settings)).tests
        tests = sorted(known[spec.metadata[NODE]].name for spec in alone if NODE in spec.metadata)
        if tests:
            run = build(self._settings, select=tests, run_key=self._run_key, gate=self._gate, command="test")
            for event in run:
                self._seen(event, None)

    def _remember(self) -> None:
        """What was found by now. A rule that was broken in one slice is broken, whatever it was in the others."""
        for key, finding in self._gate.findings.items():
            if key not in self._found or _badness(finding) >= _badness(self._found[key]):
                self._found[key] = finding
        for unique_id, event in self._tests_of_slice.items():
            if unique_id not in self._tests or self._tests[unique_id].status.good:
                self._tests[unique_id] = event
        self._tests_of_slice.clear()

    def _seen(self, event: Event, meter: Meter | None) -> None:
        if isinstance(event, TestFinished):
            self._tests_of_slice[event.unique_id] = event
        elif isinstance(event, ModelFinished):
            self._models[event.unique_id] = event
            if meter is not None:
                meter.add(1)
            self._context.log.info("%s: %s, %.1f s %s", event.name, event.status.value, event.seconds, event.message)

    @cached_property
    def _specs(self) -> Mapping[dg.AssetCheckKey, dg.AssetCheckSpec]:
        """The checks that were asked for."""
        selected = self._context.selected_asset_check_keys
        return {spec.key: spec for spec in self._context.assets_def.check_specs if spec.key in selected}

    def _checked(self, record: StepRecord) -> Iterator[dg.AssetCheckResult]:
        """A result for each check that was judged; what was not reached has none."""
        for key, spec in self._specs.items():
            name = TableName.parse(".".join(key.asset_key.path)) if NODE not in spec.metadata else None
            if name is not None:
                finding = self._found.get((name, key.name))
                if finding is not None:
                    yield check_result(self._told(finding), page=record.pages.get(name))
            else:
                event = self._tests.get(spec.metadata[NODE])
                if event is not None and event.status is not Status.SKIPPED:
                    yield self._test_result(key, event)

    def _told(self, finding: Finding) -> Finding:
        """What main showed before fails no run that does not make it worse: it is told as a warning."""
        excused = {key for made in self._made for key in made.not_at_fault}
        if finding.table in self._bad or (finding.table, finding.rule) not in excused:
            return finding
        said = f"{finding.observed}; main was no better before, so nothing is held for it"
        return replace(finding, severity=Severity.WARNING, observed=said)

    def _test_result(self, key: dg.AssetCheckKey, event: TestFinished) -> dg.AssetCheckResult:
        """A test that somebody wrote for dbt."""
        warned = event.status is Status.WARN
        return dg.AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=event.status.good and not warned,
            severity=dg.AssetCheckSeverity.WARN if warned else dg.AssetCheckSeverity.ERROR,
            metadata={
                "failed_rows": event.failures,
                "message": event.message,
                "seconds": round(event.seconds, 2),
                "branch": self._made[-1].branch if self._made else MAIN,
            },
        )

    def _materialized(self) -> Iterator[Outcome]:
        several, bad = len(self._slices.windows) > 1, self._bad
        for event in self._models.values():
            if event.table is None and event.status.good:
                yield dg.MaterializeResult(asset_key=dg.AssetKey(event.name.split(".")))
        for name, snapshot_id in self._published.items():
            if name not in bad and (not several or self._awaited):
                yield self._table_result(name, snapshot_id)
        if not several:
            for made in self._made:
                yield from self._days.of(made, only=bad)

    @property
    def _awaited(self) -> bool:
        """Whether other steps of the run may wait for this one's results, and everything is there for them."""
        others = (self._context.run.asset_selection or set()) - self._context.selected_asset_keys
        return bool(others) and not self._bad and all(made.error is None for made in self._made)

    def _table_result(self, name: TableName, snapshot_id: int | None) -> dg.MaterializeResult[None]:
        for day, rows in self._days.rows(name, self._made).items():
            self._context.add_asset_metadata(
                {"dagster/partition_row_count": rows}, asset_key=table_key(name), partition_key=day.isoformat()
            )
        return dg.MaterializeResult(asset_key=table_key(name), metadata=self._metadata(name, snapshot_id))

    def _metadata(self, name: TableName, snapshot_id: int | None) -> dict[str, Any]:
        seconds = sum(event.seconds for event in self._models.values() if event.table == name)
        metadata = table_metadata(
            self._declarations[name], self._lake.table(name), seconds=seconds, snapshot_id=snapshot_id
        )
        return {
            **metadata,
            **lineage_metadata(self._lineage.get(name, {}), url=lineage_url(self._settings, name)),
        }

    @cached_property
    def _lineage(self) -> dict[TableName, Columns]:
        return project_lineage(self._settings, self._declarations)

    def _fail_if_held(self) -> None:
        """Raises dg.Failure with what keeps tables or days back, and what to do about it."""
        held = [(made, name, reason) for made in self._made for name, reason in made.held.items()]
        if held:
            made, first, _ = held[0]
            skipped = sorted(event.name for event in self._models.values() if event.status is Status.SKIPPED)
            reasons = "; ".join(f"{_what(made, name)}: {reason}" for made, name, reason in held)
            branches = ", ".join(dict.fromkeys(made.branch for made, _, _ in held))
            not_built = f"Not built for it: {', '.join(skipped)}. " if skipped else ""
            kept = "the other days are on main" if any(name in made.published for made, name, _ in held) else _UNCHANGED
            raise dg.Failure(
                f"kept on branch {branches}, {kept}: {reasons}. {not_built}"
                f"Look at it with `lakehouse branch show {first} {made.branch}`, mend what is wrong, and run again.",
                allow_retries=False,
            )
        published = self._published
        broken = held_sentence([finding for finding in self._found.values() if finding.table not in published])
        if broken:
            raise dg.Failure(
                f"{broken}. Main shows these rows already: mend what is wrong and build the table again, or take it"
                " back with `lakehouse restore`.",
                allow_retries=False,
            )


def _badness(finding: Finding) -> int:
    return (not finding.passed) + finding.blocks


def _what(made: Slice, name: TableName) -> str:
    """A table, with the days of its slice where it is held as a whole."""
    return f"{name}" if made.window is None or name in made.published else f"{name} of {made.window}"
