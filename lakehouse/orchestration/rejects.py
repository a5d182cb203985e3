"""The jobs `replay` and `discard`: what becomes of rows that wait in quarantine, in a run of the instance.

They are started in the UI, table and rule in the run's configuration, or by `lakehouse reject`. What is done to a
record is `ingest/replay.py` and `ingest/states.py`.
"""

# No postponed annotations here: Dagster reads the annotations of `context` and `config`, and knows the classes only.

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from lakehouse.errors import SettingsError
from lakehouse.orchestration.bronze import WINDOWS
from lakehouse.orchestration.checks import check_result
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.metadata import markdown_table, table_metadata
from lakehouse.orchestration.runs import QUIET, StepFailure, failures_of, run_url
from lakehouse.orchestration.specs import table_key
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Table, TableName
from lakehouse.tables.load_check import LoadCheck

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import ReplayResult

REPLAY, DISCARD = "replay", "discard"
"""The names of the jobs."""
Heard = Callable[["ReplayResult | int"], None]


class ReplayConfig(dg.Config):
    """What is replayed."""

    table: str = Field(description="The bronze table, e.g. bronze.payments.")
    rule: str | None = Field(default=None, description="Only records that broke this rule; default: all that are open.")
    dry_run: bool = Field(default=False, description="Say what would pass, and change nothing.")


class DiscardConfig(dg.Config):
    """What is discarded, and why."""

    table: str = Field(description="The bronze table, e.g. bronze.payments.")
    ids: list[str] = Field(default=[], description="Beginnings of the records' ids.")
    rule: str | None = Field(default=None, description="In place of ids: all open records that broke this rule.")
    why: str = Field(description="Why nobody needs them.")
    dry_run: bool = Field(default=False, description="Say how many there are, and change nothing.")


@dataclass(frozen=True)
class RejectRun:
    """What a run of one of the jobs did: `outcome` is what it told, None where it failed."""

    url: str
    outcome: "ReplayResult | int | None"
    failures: tuple[StepFailure, ...] = field(default=())


def reject_jobs(settings: Settings, declarations: "Declarations", heard: Heard | None = None) -> list[dg.JobDefinition]:
    """The jobs of a project. `heard` is told what happens in this process."""
    tell = heard or _unheard

    @dg.op(description="Judges records again, and lets those that pass into bronze.")
    def replay_records(context: dg.OpExecutionContext, config: ReplayConfig) -> None:
        _replay(settings, declarations, context, config, tell)

    @dg.op(description="Closes open records for good; they stay in the quarantine.")
    def discard_records(context: dg.OpExecutionContext, config: DiscardConfig) -> None:
        from lakehouse.iceberg import Lake
        from lakehouse.ingest import discard

        table = bronze_table(declarations, config.table)
        said = {"ids": config.ids, "rule": config.rule, "why": config.why, "dry_run": config.dry_run}
        count = discard(settings, Lake.open(settings), table, run_id=context.run_id, **said)  # type: ignore[arg-type]
        context.add_output_metadata({"lakehouse/discarded": count, "lakehouse/why": config.why})
        tell(count)

    def replay_job() -> None:
        replay_records()

    def discard_job() -> None:
        discard_records()

    described = {
        REPLAY: (replay_job, "Tries rows in quarantine again, under the contract as it is now: those that pass, once."),
        DISCARD: (discard_job, "Gives rows in quarantine up, with a reason."),
    }
    return [
        dg.job(name=name, description=description, executor_def=dg.in_process_executor)(body)
        for name, (body, description) in described.items()
    ]


def run_rejects(settings: Settings, declarations: "Declarations", name: str, config: Mapping[str, Any]) -> RejectRun:
    """One of the jobs in a run of the project's instance. Raises SettingsError for a table that nothing is loaded into.

    What goes wrong in the run is in `failures`.
    """
    bronze_table(declarations, str(config["table"]))
    told: list[ReplayResult | int] = []
    jobs = {job.name: job for job in reject_jobs(settings, declarations, told.append)}
    with open_instance(settings) as instance:
        result = jobs[name].execute_in_process(
            instance=instance,
            run_config={**QUIET, "ops": {f"{name}_records": {"config": dict(config)}}},
            raise_on_error=False,
        )
    return RejectRun(run_url(settings, result.run_id), told[0] if told else None, failures_of(result))


def bronze_table(declarations: "Declarations", name: str) -> Table:
    """The table of a name that records are kept of. Raises SettingsError."""
    wanted = TableName.parse(name)
    table = declarations.get(wanted)
    if table is None or table.load is None:
        loaded = ", ".join(str(one) for one, of in declarations.items() if one.layer is Layer.BRONZE and of.load)
        raise SettingsError(
            f"{wanted} has no quarantine: no contract loads it", expected=f"one of {loaded}", remedy="Mend the name."
        )
    return table


def _replay(
    settings: Settings, declarations: "Declarations", context: dg.OpExecutionContext, config: ReplayConfig, tell: Heard
) -> None:
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import replay
    from lakehouse.ingest.retries import with_retries
    from lakehouse.quality.gate import Gate
    from lakehouse.telemetry import run_logs

    table, lake = bronze_table(declarations, config.table), Lake.open(settings)
    with run_logs(json=settings.json_logs, run_id=context.run_id, asset=str(table.name)):
        gate = Gate(settings, lake, declarations)

        def attempt(_: int) -> "ReplayResult":
            run_id = context.run_id
            return replay(settings, lake, table, run_id=run_id, rule=config.rule, dry_run=config.dry_run, gate=gate)

        # Sensors load all the time: a load that comes between is no reason to fail.
        result = with_retries(attempt, table.name, settings.loads.retry_seconds)
    told = (table.name, result.tried, result.entered, result.there, result.still_broken)
    context.log.info("%s: tried %d records, %d entered bronze, %d were there, %d are still broken", *told)
    tell(result)
    context.add_output_metadata(_metadata(table, result))
    if result.held is not None:
        raise dg.Failure(str(result.held), allow_retries=False)
    if not config.dry_run:
        _show(context, lake, table, result)


def _metadata(table: Table, result: "ReplayResult") -> dict[str, Any]:
    broken = [{"rule": rule, "records": f"{count:,}"} for rule, count in sorted(result.broken.items())]
    by_rule = {"lakehouse/still_broken_by_rule": dg.MetadataValue.md(markdown_table(broken))} if broken else {}
    return {
        "lakehouse/table": str(table.name),
        "lakehouse/tried": result.tried,
        "lakehouse/passed": result.entered,
        "lakehouse/already_in_bronze": result.there,
        "lakehouse/still_broken": result.still_broken,
        **by_rule,
        WINDOWS: dg.MetadataValue.json([[w.start.isoformat(), w.end.isoformat()] for w in result.windows]),
    }


def _show(context: dg.OpExecutionContext, lake: "Lake", table: Table, result: "ReplayResult") -> None:
    """What the table is like now, at its own asset: rows, and whether any still waits."""
    from lakehouse.ingest import quarantined

    if result.commit is not None:
        stored, snapshot_id = lake.table(table.name), result.commit.snapshot_id
        figures = table_metadata(table, stored, seconds=result.seconds, snapshot_id=snapshot_id)
        told = {**figures, **_metadata(table, result)}
        context.log_event(dg.AssetMaterialization(asset_key=table_key(table.name), metadata=told))
    found = check_result(quarantined(lake, table))
    context.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=table_key(table.name),
            check_name=LoadCheck.QUARANTINE.value,
            passed=found.passed,
            severity=found.severity,
            description=found.description,
            metadata=found.metadata,
        )
    )


def _unheard(_: object) -> None:
    """Nobody listens."""
