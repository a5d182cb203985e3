"""Bronze tables as assets: each materialization is one load from its source. What a load does belongs in `ingest/`."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.orchestration import s3
from lakehouse.orchestration.metadata import table_metadata
from lakehouse.orchestration.specs import source_key, source_spec, table_key, table_spec
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Table

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import LoadResult

BALANCE = "every_row_accounted_for"
QUARANTINE = "no_row_quarantined"
WINDOWS = "lakehouse/changed_days"


def source_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetSpec]:
    """What the bronze tables read from, as external assets at the left edge of the lineage."""
    specs = (
        source_spec(table, settings.sources[table.load.source])
        for table in declarations.values()
        if table.load and table.load.source in settings.sources
    )
    return list({spec.key: spec for spec in specs}.values())


def bronze_assets(settings: Settings, declarations: "Declarations") -> list[dg.AssetsDefinition]:
    """One asset a bronze table."""
    return [_bronze_asset(settings, table) for table in declarations.values() if table.name.layer is Layer.BRONZE]


def _bronze_asset(settings: Settings, table: Table) -> dg.AssetsDefinition:
    needed = s3.resource_keys(settings, table)

    @dg.multi_asset(
        name="__".join(table.name.key),
        specs=[table_spec(table, [source_key(table)], kind="python")],
        check_specs=_check_specs(table),
        pool=str(table.name),
        required_resource_keys=needed,
    )
    def load_table(context: dg.AssetExecutionContext) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
        from lakehouse.iceberg import Lake
        from lakehouse.ingest import load
        from lakehouse.telemetry import run_logs

        with run_logs(json=settings.json_logs, run_id=context.run.run_id, asset=str(table.name)):
            lake = Lake.open(settings)
            client = s3.client(context) if needed else None
            result = load(settings, lake, table, run_id=context.run.run_id, s3=client)
            context.log.info(_sentence(table, result))
            context.log_event(_observed(table, result))
            yield from _check_results(table, result, _rows_waiting(lake, table))
            snapshot_id = result.commit.snapshot_id if result.commit else None
            metadata = table_metadata(table, lake.table(table.name), seconds=result.seconds, snapshot_id=snapshot_id)
            yield dg.MaterializeResult(
                asset_key=table_key(table.name), metadata={**metadata, **_load_metadata(table, result)}
            )

    return load_table


def _check_specs(table: Table) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(
            BALANCE,
            asset=table_key(table.name),
            blocking=True,
            description="Rows read = rows published + rows quarantined + rows seen before.",
        ),
        dg.AssetCheckSpec(
            QUARANTINE,
            asset=table_key(table.name),
            description="No row waits in the quarantine table: none of this load, and none of the loads before.",
        ),
    ]


def _rows_waiting(lake: "Lake", table: Table) -> int:
    from lakehouse.ingest import quarantine_table

    name = quarantine_table(table).name
    return lake.table(name).stats().rows if lake.exists(name) else 0


def _check_results(table: Table, result: "LoadResult", waiting: int) -> Iterator[dg.AssetCheckResult]:
    key = table_key(table.name)
    counted = result.rows_published + result.rows_quarantined + result.rows_seen
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=BALANCE,
        passed=result.rows_read == counted,
        metadata={"rows_read": result.rows_read, "rows_accounted_for": counted},
    )
    yield dg.AssetCheckResult(
        asset_key=key,
        check_name=QUARANTINE,
        passed=waiting == 0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "rows_waiting": waiting,
            "rows_quarantined": result.rows_quarantined,
            "table": f"quarantine.{table.domain}_{table.name.table}",
        },
    )


def _observed(table: Table, result: "LoadResult") -> dg.AssetObservation:
    """What the load saw of its source, so that the external asset at the edge of the lineage has a history too."""
    reached = {"lakehouse/reached": dg.MetadataValue.json(result.position)} if result.position is not None else {}
    return dg.AssetObservation(
        asset_key=source_key(table), metadata={"lakehouse/rows_read": result.rows_read, **reached}
    )


def _load_metadata(table: Table, result: "LoadResult") -> dict[str, Any]:
    origins = {c.name: [dg.TableColumnDep(asset_key=source_key(table), column_name=c.name)] for c in table.columns}
    return {
        "dagster/column_lineage": dg.TableColumnLineage(deps_by_column=origins),
        "lakehouse/rows_read": result.rows_read,
        "lakehouse/rows_published": result.rows_published,
        "lakehouse/rows_quarantined": result.rows_quarantined,
        "lakehouse/rows_seen": result.rows_seen,
        "lakehouse/run_key": result.run_key,
        WINDOWS: dg.MetadataValue.json([[w.start.isoformat(), w.end.isoformat()] for w in result.windows]),
    }


def _sentence(table: Table, result: "LoadResult") -> str:
    return (
        f"{table.name}: read {result.rows_read:,} rows, published {result.rows_published:,}, "
        f"quarantined {result.rows_quarantined:,}, seen before {result.rows_seen:,}"
    )
