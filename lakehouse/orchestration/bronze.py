"""Bronze tables as assets: each materialization is one load from its source. What a load does belongs in `ingest/`."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from lakehouse.errors import SettingsError
from lakehouse.orchestration import s3
from lakehouse.orchestration.checks import check_result, held_sentence, rule_checks
from lakehouse.orchestration.loads import balance_metadata, warm_for_models
from lakehouse.orchestration.metadata import table_metadata
from lakehouse.orchestration.specs import first_day, pool_of, source_key, source_spec, table_key, table_spec
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Rule, Table, TableRule, Window
from lakehouse.tables.load_check import LoadCheck

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.ingest import LoadResult
    from lakehouse.quality.finding import Finding

WINDOWS = "lakehouse/changed_days"
REREAD = "lakehouse/reread"
"""Tag of a run that reads something again, and metadata of what it made: the days, or `full`."""


class LoadConfig(dg.Config):
    """What a load reads: by default what is new. Days, or everything, are read again without doubling a row."""

    first_day: str | None = Field(default=None, description="Read these days again: the first one, e.g. 2026-01-31.")
    last_day: str | None = Field(default=None, description="The last one, inclusive; default: the first.")
    full: bool = Field(default=False, description="Read everything again that the source has.")

    @property
    def window(self) -> Window | None:
        """The days to read again. Raises SettingsError."""
        try:
            days = [date.fromisoformat(day) for day in (self.first_day or self.last_day, self.last_day) if day]
            return Window.of_days(days[0], days[-1]) if days else None
        except ValueError as error:
            raise SettingsError(
                "the days to read again are no days",
                expected="first_day: 2026-01-01, last_day: 2026-01-31",
                found=f"first_day: {self.first_day}, last_day: {self.last_day}; {error}",
                remedy="Mend the run's configuration.",
            ) from None


def source_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetSpec]:
    """What the bronze tables read from, as external assets at the left edge of the lineage."""
    specs = (
        source_spec(table, settings.sources[table.load.source], first_day=first_day(declarations, table.domain))
        for table in declarations.values()
        if table.load and table.load.source in settings.sources
    )
    return list({spec.key: spec for spec in specs}.values())


def bronze_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetsDefinition]:
    """One asset a bronze table."""
    return [
        _bronze_asset(settings, declarations, table)
        for table in declarations.values()
        if table.name.layer is Layer.BRONZE
    ]


def _bronze_asset(settings: Settings, declarations: "Declarations", table: Table) -> dg.AssetsDefinition:
    needed = s3.resource_keys(settings, table)

    @dg.multi_asset(
        name="__".join(table.name.key),
        specs=[table_spec(table, [source_key(table)], kind="python")],
        check_specs=[*_load_checks(table), *rule_checks(table)],
        # Its checks can be run without it.
        can_subset=True,
        pool=pool_of(table),
        required_resource_keys=needed,
    )
    def load_table(
        context: dg.AssetExecutionContext, config: LoadConfig
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        from lakehouse.telemetry import run_logs

        with run_logs(json=settings.json_logs, run_id=context.run.run_id, asset=str(table.name)):
            if context.selected_asset_keys:
                yield from _load(settings, declarations, table, context, config)
            else:
                yield from _judge(settings, declarations, table, context)

    return load_table


def _load(
    settings: Settings,
    declarations: "Declarations",
    table: Table,
    context: dg.AssetExecutionContext,
    config: LoadConfig,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Load what is new; every check is told before the table. Raises dg.Failure when a blocking rule holds it back."""
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import attempt_load, load_findings
    from lakehouse.orchestration.recorded import record_step
    from lakehouse.quality.gate import Gate

    warm_for_models(settings, context.run)
    lake = Lake.open(settings)
    gate = Gate(settings, lake, declarations)
    client = s3.client(context) if s3.resource_keys(settings, table) else None
    result = attempt_load(
        settings,
        lake,
        table,
        run_id=context.run.run_id,
        s3=client,
        gate=gate,
        window=config.window,
        full=config.full,
    )
    context.log.info(_sentence(table, result))
    context.log_event(_observed(table, result))
    published = set() if result.held else {table.name}
    record = record_step(settings, lake, gate, context, findings=result.findings, published=published)
    found = {finding.rule: finding for finding in load_findings(lake, table, result)}
    yield from _told(found, context, record.pages.get(table.name))
    if result.held is not None:
        raise dg.Failure(str(result.held), allow_retries=False)
    snapshot_id = result.commit.snapshot_id if result.commit else None
    metadata = table_metadata(table, lake.table(table.name), seconds=result.seconds, snapshot_id=snapshot_id)
    # First what people look for first.
    told = {**balance_metadata(result), **metadata, **_load_metadata(table, result)}
    yield dg.MaterializeResult(asset_key=table_key(table.name), metadata=told)
    record.raise_trouble()


def _judge(
    settings: Settings, declarations: "Declarations", table: Table, context: dg.AssetExecutionContext
) -> Iterator[dg.AssetCheckResult]:
    """Only checks: main is judged by the contract's rules, the door's too. The balance of a load takes a load."""
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import quarantined
    from lakehouse.orchestration.recorded import record_step
    from lakehouse.quality.gate import Gate

    lake = Lake.open(settings)
    gate = Gate(settings, lake, declarations)
    asked = {key.name for key in context.selected_asset_check_keys}
    every: list[Rule | TableRule] = [*table.rules, *table.table_rules]
    named = [rule.name for rule in every if rule.name in asked]
    findings = gate.audit(table.name, rules=named) if named else ()
    record = record_step(settings, lake, gate, context, findings=findings, published={table.name})
    waiting = quarantined(lake, table)
    yield from _told({finding.rule: finding for finding in (waiting, *findings)}, context, record.pages.get(table.name))
    broken = held_sentence(findings)
    if broken:
        raise dg.Failure(f"{broken}. Main of {table.name} shows these rows.", allow_retries=False)
    record.raise_trouble()


def _told(
    found: "dict[str, Finding]", context: dg.AssetExecutionContext, page: str | None
) -> Iterator[dg.AssetCheckResult]:
    names = (key.name for key in context.selected_asset_check_keys)
    yield from (check_result(found[name], page=page) for name in sorted(names) if name in found)


def _load_checks(table: Table) -> Iterator[dg.AssetCheckSpec]:
    for check in LoadCheck:
        yield dg.AssetCheckSpec(
            check.value,
            asset=table_key(table.name),
            description=check.description,
            blocking=check is LoadCheck.BALANCE,
        )


def _observed(table: Table, result: "LoadResult") -> dg.AssetObservation:
    """What the load saw of its source, so that the external asset at the edge of the lineage has a history too."""
    reached = {"lakehouse/reached": dg.MetadataValue.json(result.position)} if result.position is not None else {}
    return dg.AssetObservation(
        asset_key=source_key(table), metadata={"lakehouse/rows_read": result.rows_read, **reached}
    )


def _load_metadata(table: Table, result: "LoadResult") -> dict[str, Any]:
    names = {column.name: column.name for column in table.source_columns}
    if table.window_column and table.business_day:
        names[table.window_column] = table.business_day.column
    origins = {n: [dg.TableColumnDep(asset_key=source_key(table), column_name=of)] for n, of in names.items()}
    return {
        "dagster/column_lineage": dg.TableColumnLineage(deps_by_column=origins),
        "lakehouse/run_key": result.run_key,
        **({REREAD: result.reread} if result.reread else {}),
        WINDOWS: dg.MetadataValue.json([[w.start.isoformat(), w.end.isoformat()] for w in result.windows]),
    }


def _sentence(table: Table, result: "LoadResult") -> str:
    became = "staged" if result.held else "published"
    return (
        f"{table.name}: read {result.rows_read:,} rows, {became} {result.rows_published:,}, "
        f"quarantined {result.rows_quarantined:,}, seen before {result.rows_seen:,}"
    )
