"""dbt models as assets: a materialization is stage on a branch, audit by dbt's tests, publish; then say so.

One asset definition for each daily chain and one for all unpartitioned models. What a build is belongs in `transform/`.
"""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import dbt_assets

from lakehouse.orchestration.lineage import lineage_url, project_lineage
from lakehouse.orchestration.metadata import lineage_metadata, rows_by_day, table_metadata
from lakehouse.orchestration.specs import days_from, table_key
from lakehouse.orchestration.translator import NODE, ContractTranslator
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName, Window

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Commit, Lake
    from lakehouse.telemetry import Meter
    from lakehouse.transform.events import Event, ModelFinished, TestFinished
    from lakehouse.transform.lineage import Columns

Outcome = dg.AssetCheckResult | dg.MaterializeResult[None]


def model_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetsDefinition]:
    """The project's models. Raises TransformError with the remedy when there is no manifest yet."""
    from lakehouse.transform.folders import manifest_path

    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    translator = ContractTranslator(declarations)
    chains: dict[date | None, list[str]] = {}
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model":
            table = translator.table_of(node)
            chains.setdefault(table.window_start if table and table.windowed else None, []).append(
                ".".join(node["fqn"])
            )
    return [_chain(settings, declarations, manifest, start, fqns) for start, fqns in chains.items()]


def _chain(
    settings: Settings, declarations: "Declarations", manifest: dict[str, Any], start: date | None, fqns: Sequence[str]
) -> dg.AssetsDefinition:
    @dbt_assets(
        manifest=manifest,
        select=" ".join(f"fqn:{fqn}" for fqn in sorted(fqns)),
        name=f"models_daily_from_{start:%Y_%m_%d}" if start else "models",
        partitions_def=days_from(start) if start else None,
        dagster_dbt_translator=ContractTranslator(declarations),
        pool="dbt" if start is None else f"dbt:{start}",
    )
    def models(context: dg.AssetExecutionContext) -> Iterator[Outcome]:
        from lakehouse.telemetry import run_logs

        window = None
        if context.has_partition_key or context.has_partition_key_range:
            span = context.partition_time_window
            window = Window(span.start.date(), span.end.date())
        name = context.op_execution_context.op.name
        # A retried step is a new attempt at the same work: same key, so that what was written is found again.
        run_key = f"{context.run.run_id}:{name}"
        with run_logs(json=settings.json_logs, run_id=context.run.run_id, asset=name, run_key=run_key):
            yield from _Build(settings, declarations, context, window, run_key).outcomes()

    return models


class _Build:
    """One build inside a run: the models selected, for one window."""

    def __init__(
        self,
        settings: Settings,
        declarations: "Declarations",
        context: dg.AssetExecutionContext,
        window: Window | None,
        run_key: str,
    ) -> None:
        self._settings = settings
        self._declarations = declarations
        self._context = context
        self._window = window
        self._run_key = run_key
        self._branch = f"run/{context.run.run_id[:8]}-{context.op_execution_context.op.name}"
        self._checks = {
            spec.metadata[NODE]: spec.key
            for spec in context.assets_def.check_specs
            if spec.key in context.selected_asset_check_keys and NODE in spec.metadata
        }

    @cached_property
    def _lineage(self) -> "dict[TableName, Columns]":
        return project_lineage(self._settings, self._declarations)

    def outcomes(self) -> Iterator[Outcome]:
        """Build, audit and publish; yields every check, then every table that became visible. Raises dg.Failure."""
        from lakehouse.iceberg import Lake
        from lakehouse.telemetry import Meter
        from lakehouse.transform.rounds import Rounds

        lake = Lake.open(self._settings)
        rounds = Rounds(self._settings, lake, branch=self._branch, run_key=self._run_key, window=self._window)
        labels = sorted(".".join(key.path) for key in self._context.selected_asset_keys)
        meter = Meter("silver and gold", total=len(labels), unit="models", every=0)
        # A table may be built and tested more than once, when main moves meanwhile; its last news counts.
        models: dict[str, ModelFinished] = {}
        checks: dict[str, dg.AssetCheckResult] = {}
        for event in rounds.run(labels):
            self._seen(event, meter, models, checks)
        meter.finish()
        yield from checks.values()
        yield from self._materialized(lake, models.values(), rounds.published)
        if rounds.error is not None:
            raise rounds.error
        if rounds.held:
            held = "; ".join(f"{name}: {reason}" for name, reason in rounds.held.items())
            raise dg.Failure(f"kept on branch {self._branch}, main unchanged: {held}", allow_retries=False)

    def _seen(
        self,
        event: "Event",
        meter: "Meter",
        models: "dict[str, ModelFinished]",
        checks: dict[str, dg.AssetCheckResult],
    ) -> None:
        from lakehouse.transform.events import ModelFinished, TestFinished

        if isinstance(event, TestFinished):
            key = self._checks.get(event.unique_id)
            if key is not None and event.status.value != "skipped":
                checks[event.unique_id] = self._check_result(key, event)
        elif isinstance(event, ModelFinished):
            models[event.unique_id] = event
            meter.add(1)
            self._context.log.info("%s: %s, %.1f s %s", event.name, event.status.value, event.seconds, event.message)

    def _check_result(self, key: dg.AssetCheckKey, event: "TestFinished") -> dg.AssetCheckResult:
        warned = event.status.value == "warn"
        return dg.AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=event.status.good and not warned,
            severity=dg.AssetCheckSeverity.WARN if warned else dg.AssetCheckSeverity.ERROR,
            metadata={
                "failed_rows": event.failures,
                "message": event.message,
                "seconds": round(event.seconds, 2),
                "branch": self._branch,
            },
        )

    def _materialized(
        self, lake: "Lake", models: "Iterable[ModelFinished]", published: "Mapping[TableName, Commit]"
    ) -> Iterator[dg.MaterializeResult[None]]:
        for event in models:
            if event.table is not None and event.table in published:
                yield self._table_result(lake, self._declarations[event.table], event, published[event.table])
            elif event.table is None and event.status.good:
                yield dg.MaterializeResult(asset_key=dg.AssetKey(event.name.split(".")))

    def _table_result(
        self, lake: "Lake", table: Table, event: "ModelFinished", commit: "Commit"
    ) -> dg.MaterializeResult[None]:
        stored = lake.table(table.name)
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
