"""One build inside a run: models on a branch, audited, published; and what became of it as Dagster's results.

Which models are one asset definition is `models.py`. What a build and an audit are belongs in `transform/` and
`quality/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.iceberg import MAIN, Lake
from lakehouse.orchestration.checks import check_result, held_sentence
from lakehouse.orchestration.lineage import lineage_url, project_lineage
from lakehouse.orchestration.metadata import lineage_metadata, rows_by_day, table_metadata
from lakehouse.orchestration.recorded import StepRecord, record_step
from lakehouse.orchestration.specs import table_key
from lakehouse.orchestration.translator import NODE
from lakehouse.quality.finding import Finding
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName, Window
from lakehouse.telemetry import Meter
from lakehouse.transform.events import Event, ModelFinished, Status, TestFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.rounds import Rounds
from lakehouse.transform.run import build

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.transform.lineage import Columns

Outcome = dg.AssetCheckResult | dg.MaterializeResult[None]


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
        self._window, self._run_key = window, run_key
        self._branch = f"run/{context.run.run_id[:8]}-{context.op_execution_context.op.name}"
        self._lake = Lake.open(settings)
        self._gate = Gate(settings, self._lake, declarations)
        self._rounds = Rounds(
            settings, self._lake, branch=self._branch, run_key=run_key, window=window, gate=self._gate
        )
        # A table may be built and tested more than once, when main moves meanwhile; its last news counts.
        self._models: dict[str, ModelFinished] = {}
        self._tests: dict[str, TestFinished] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """Build, audit and publish; yields every check, then every table that became visible. Raises dg.Failure.

        Checks that were asked for without their table are judged on main, and nothing is built for them.
        """
        trouble = self._carried_out()
        judged_on_main = {finding.table for finding in self._findings if finding.branch == MAIN}
        record = record_step(
            self._settings,
            self._lake,
            self._gate,
            self._context,
            findings=self._findings,
            published={*self._rounds.published, *judged_on_main},
        )
        yield from self._checked(record)
        yield from self._materialized()
        if trouble is not None:
            raise trouble
        if self._rounds.error is not None:
            raise self._rounds.error
        self._fail_if_held()
        record.raise_trouble()

    @property
    def _findings(self) -> tuple[Finding, ...]:
        return tuple(self._gate.findings.values())

    def _carried_out(self) -> Exception | None:
        """Do the work. What stops it half-way is given back, so that what was found until then is told first."""
        try:
            labels = sorted(".".join(key.path) for key in self._context.selected_asset_keys)
            if labels:
                self._build(labels)
            self._judge_main()
        except Exception as error:  # noqa: BLE001  (raised again by `outcomes`)
            return error
        return None

    def _build(self, labels: list[str]) -> None:
        meter = Meter("silver and gold", total=len(labels), unit="models", every=0)
        for event in self._rounds.run(labels):
            self._seen(event, meter)
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

    def _seen(self, event: Event, meter: Meter | None) -> None:
        if isinstance(event, TestFinished):
            self._tests[event.unique_id] = event
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
                finding = self._gate.findings.get((name, key.name))
                if finding is not None:
                    yield check_result(finding, page=record.pages.get(name))
            else:
                event = self._tests.get(spec.metadata[NODE])
                if event is not None and event.status is not Status.SKIPPED:
                    yield self._test_result(key, event)

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
                "branch": self._branch if self._models else MAIN,
            },
        )

    def _materialized(self) -> Iterator[dg.MaterializeResult[None]]:
        for event in self._models.values():
            if event.table is not None and event.table in self._rounds.published:
                yield self._table_result(self._declarations[event.table], event)
            elif event.table is None and event.status.good:
                yield dg.MaterializeResult(asset_key=dg.AssetKey(event.name.split(".")))

    def _table_result(self, table: Table, event: ModelFinished) -> dg.MaterializeResult[None]:
        stored, commit = self._lake.table(table.name), self._rounds.published[table.name]
        metadata = table_metadata(table, stored, seconds=event.seconds, snapshot_id=commit.snapshot_id)
        metadata.update(
            lineage_metadata(self._lineage.get(table.name, {}), url=lineage_url(self._settings, table.name))
        )
        if self._window and table.windowed and table.window_column:
            for day, rows in rows_by_day(self._settings, table, stored, self._window).items():
                self._context.add_asset_metadata(
                    {"dagster/partition_row_count": rows},
                    asset_key=table_key(table.name),
                    partition_key=day.isoformat(),
                )
        return dg.MaterializeResult(asset_key=table_key(table.name), metadata=metadata)

    @cached_property
    def _lineage(self) -> dict[TableName, Columns]:
        return project_lineage(self._settings, self._declarations)

    def _fail_if_held(self) -> None:
        """Raises dg.Failure with what keeps tables back, and what to do about it."""
        held = self._rounds.held
        if held:
            skipped = sorted(event.name for event in self._models.values() if event.status is Status.SKIPPED)
            reasons = "; ".join(f"{name}: {reason}" for name, reason in held.items())
            not_built = f"Not built for it: {', '.join(skipped)}. " if skipped else ""
            raise dg.Failure(
                f"kept on branch {self._branch}, main unchanged: {reasons}. {not_built}"
                f"Look at it with `lakehouse branch show {next(iter(held))} {self._branch}`, mend what is wrong, "
                "and run again.",
                allow_retries=False,
            )
        broken = held_sentence([finding for finding in self._findings if finding.table not in self._rounds.published])
        if broken:
            raise dg.Failure(
                f"{broken}. Main shows these rows already: mend what is wrong and build the table again, or take it"
                " back with `lakehouse restore`.",
                allow_retries=False,
            )
