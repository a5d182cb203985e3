"""Upkeep as assets, one a table: each materialization compacts it, expires its snapshots and clears its orphans.

What is done to a table, and why, is `lakehouse/upkeep/`; which tables there are is `upkeep_tables.py`, when their
upkeep starts by itself `upkeep_schedule.py`, what is told of it `upkeep_metadata.py`.
"""

# No postponed annotations here: Dagster reads the annotations of `context` and `config`, and knows the classes only.

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from lakehouse.errors import LakehouseError, SettingsError
from lakehouse.orchestration.upkeep_metadata import report_metadata, sentence
from lakehouse.orchestration.upkeep_tables import Target, upkeep_targets
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.iceberg import Lake
    from lakehouse.upkeep import Action, UpkeepReport

Say = Callable[[str], None]
Result = dg.MaterializeResult[None]


@dataclass(frozen=True)
class Listener:
    """Whoever follows upkeep besides the log of its run: `say` hears each line of progress, `report` each report."""

    say: Say
    report: Callable[["UpkeepReport"], None]


class UpkeepConfig(dg.Config):
    """What one step of upkeep does; by default all of it."""

    actions: list[str] = Field(
        default=["compact", "expire", "orphans"], description="What is done: compact, expire, orphans."
    )
    dry_run: bool = Field(default=False, description="Say what would be done, and change nothing.")


def upkeep_assets(
    settings: Settings, declarations: "Declarations", listener: Listener | None = None
) -> list[dg.AssetsDefinition]:
    """One asset a table, `upkeep/<layer>/<table>`. The listener is told what happens in this process."""
    return [_upkeep_asset(settings, target, listener) for target in upkeep_targets(declarations)]


def _upkeep_asset(settings: Settings, target: Target, listener: Listener | None) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=target.op,
        specs=[_spec(target)],
        # The pool of the step that writes the table: never beside a load or a build of it.
        pool=target.pool,
    )
    def keep(context: dg.AssetExecutionContext, config: UpkeepConfig) -> Iterator[Result]:
        from lakehouse.telemetry import run_logs

        with run_logs(json=settings.json_logs, run_id=context.run.run_id, asset=str(target.name)):
            yield from _keep_up(settings, target, context, config, listener)

    return keep


def _spec(target: Target) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=target.key,
        deps=[] if target.written_by is None else [target.written_by],
        description=f"Upkeep of {target.name}: small files are packed, old snapshots expire, orphaned files go.",
        group_name=target.group,
        owners=list(target.owners),
        kinds={"iceberg", "duckdb"},
        tags={"layer": target.name.layer.value},
        # A dry run changes nothing.
        skippable=True,
    )


def _keep_up(
    settings: Settings,
    target: Target,
    context: dg.AssetExecutionContext,
    config: UpkeepConfig,
    listener: Listener | None,
) -> Iterator[Result]:
    from lakehouse.iceberg import Lake
    from lakehouse.upkeep import keep_up

    def said(line: str) -> None:
        context.log.info(line)
        if listener is not None:
            listener.say(line)

    lake = Lake.open(settings)
    if not lake.exists(target.name):
        said(f"{target.name} is not there yet: nothing to keep up")
        # A step that is skipped would fail the backfill it belongs to.
        yield dg.MaterializeResult(asset_key=target.key, metadata={"lakehouse/note": "not there yet"})
        return
    report = keep_up(
        settings,
        lake,
        target.name,
        run_id=context.run.run_id,
        actions=_actions(config),
        dry_run=config.dry_run,
        progress=said,
    )
    if listener is not None:
        listener.report(report)
    if config.dry_run:
        observed = {"lakehouse/dry_run": True, **report_metadata(report)}
        context.log_event(dg.AssetObservation(asset_key=target.key, metadata=observed))
    else:
        yield from _told(settings, lake, target, context, report)
    if report.troubles:
        raise dg.Failure("; ".join(report.troubles), allow_retries=False)


def _told(
    settings: Settings, lake: "Lake", target: Target, context: dg.AssetExecutionContext, report: "UpkeepReport"
) -> Iterator[Result]:
    """What was done, whatever becomes of its page."""
    from lakehouse.orchestration.upkeep_history import write_page

    context.log.info(sentence(report))
    page, trouble = None, None
    try:
        page = write_page(settings, lake, target.name)
    except LakehouseError as error:
        trouble = error
    # The link comes first: figures are many.
    link = {} if page is None else {"lakehouse/upkeep": dg.MetadataValue.url(page)}
    yield dg.MaterializeResult(asset_key=target.key, metadata={**link, **report_metadata(report)})
    if trouble is not None:
        raise trouble


def _actions(config: UpkeepConfig) -> "tuple[Action, ...]":
    from lakehouse.upkeep import Action

    if unknown := set(config.actions) - set(Action):
        raise SettingsError(
            f"upkeep has no action {', '.join(sorted(unknown))}",
            expected=f"some of {', '.join(Action)}",
            remedy="Mend `actions` in the run's configuration.",
        )
    return tuple(Action(one) for one in config.actions)
