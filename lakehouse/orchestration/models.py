"""dbt models as assets, with the rules of their contracts and the tests that somebody wrote for dbt as checks.

One asset definition for each daily chain and one for all unpartitioned models. What a run does is `build.py`.
"""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.orchestration.checks import rule_checks
from lakehouse.orchestration.specs import days_from, models_pool
from lakehouse.orchestration.translator import ContractTranslator
from lakehouse.settings import Settings
from lakehouse.tables import Window

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

Outcome = dg.AssetCheckResult | dg.AssetMaterialization | dg.MaterializeResult[None]
Manifest = Mapping[str, Any]


def model_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetsDefinition]:
    """The project's models. Raises TransformError with the remedy when there is no manifest yet."""
    from lakehouse.transform.folders import manifest_path

    manifest = json.loads(manifest_path(settings).read_text(encoding="utf-8"))
    translator = ContractTranslator(declarations)
    chains: dict[date | None, list[str]] = {}
    for unique_id, node in sorted(manifest["nodes"].items()):
        if node["resource_type"] == "model":
            table = translator.table_of(node)
            chains.setdefault(table.window_start if table and table.windowed else None, []).append(unique_id)
    return [
        _chain(settings, declarations, _Models(manifest, translator, nodes), start) for start, nodes in chains.items()
    ]


class _Models:
    """Some models of the manifest, and what Dagster has to know of them."""

    def __init__(self, manifest: Manifest, translator: ContractTranslator, nodes: Sequence[str]) -> None:
        self._manifest, self._translator = manifest, translator
        self.specs = {node: translator.get_asset_spec(manifest, node, None) for node in nodes}

    def checks(self) -> Iterator[dg.AssetCheckSpec]:
        """The rules of each model's contract, then the tests of dbt's that render no rule."""
        for node, spec in self.specs.items():
            table = self._translator.table_of(self._manifest["nodes"][node])
            if table is not None:
                yield from rule_checks(table)
            for child in sorted(self._manifest["child_map"].get(node, ())):
                if child.startswith("test."):
                    check = self._translator.get_asset_check_spec(spec, self._manifest, child, None)
                    if check is not None:
                        yield check


def _chain(settings: Settings, declarations: "Declarations", chain: _Models, start: date | None) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=f"models_daily_from_{start:%Y_%m_%d}" if start else "models",
        specs=list(chain.specs.values()),
        check_specs=list(chain.checks()),
        can_subset=True,
        partitions_def=days_from(start) if start else None,
        # A build knows no days but one window, so that many of them are one run.
        backfill_policy=dg.BackfillPolicy.single_run() if start else None,
        pool=models_pool(start),
    )
    def models(context: dg.AssetExecutionContext) -> Iterator[Outcome]:
        from lakehouse.orchestration.build import Build
        from lakehouse.telemetry import run_logs

        window = None
        if context.has_partition_key or context.has_partition_key_range:
            span = context.partition_time_window
            window = Window(span.start.date(), span.end.date())
        name = context.op_execution_context.op.name
        # A retried step is a new attempt at the same work: same key, so that what was written is found again.
        run_key = f"{first_attempt(context)}:{name}"
        with run_logs(json=settings.json_logs, run_id=context.run.run_id, asset=name, run_key=run_key):
            yield from Build(settings, declarations, context, window=window, run_key=run_key).outcomes()

    return models


def first_attempt(context: dg.AssetExecutionContext) -> str:
    """The id of the run that this one is an attempt at: Dagster starts a killed run again, under an id of its own.

    One that people start again is new work.
    """
    run = context.run
    while "dagster/retry_number" in run.tags and run.parent_run_id is not None:
        parent = context.instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            break
        run = parent
    return run.run_id
