"""Upkeep started from the CLI: one run of the project's instance, in the very assets that the schedules run.

What a step of it does is `upkeep_assets.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.errors import SettingsError
from lakehouse.orchestration.home import open_instance
from lakehouse.orchestration.runs import QUIET, StepFailure, failures_of, run_url
from lakehouse.orchestration.upkeep_assets import Listener, Say, upkeep_assets
from lakehouse.orchestration.upkeep_tables import Target, upkeep_targets
from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.upkeep import Action, UpkeepReport


@dataclass(frozen=True)
class UpkeepRun:
    """What one run of upkeep did, table by table, and where the UI shows it. `failures`: what did not work."""

    run_id: str
    url: str
    success: bool
    reports: tuple[UpkeepReport, ...]
    failures: tuple[StepFailure, ...]


def run_upkeep(
    settings: Settings,
    names: Sequence[TableName],
    *,
    actions: Collection[Action] | None = None,
    dry_run: bool = False,
    say: Say | None = None,
) -> UpkeepRun:
    """Keep tables up in one run of the project's instance, a step a table; one that fails stops no other.

    No actions named: all. Raises SettingsError for a table that has no upkeep, ServiceError when the instance does not
    answer. What goes wrong in the run is in `failures`.
    """
    from lakehouse.contracts import read_tables

    declarations = read_tables(settings.defs)
    wanted = [_find(declarations, name) for name in dict.fromkeys(names)]
    reports: list[UpkeepReport] = []
    config: dict[str, Any] = {"dry_run": dry_run}
    if actions is not None:
        config["actions"] = [action.value for action in actions]
    # The very assets that the code location has; without its models, which upkeep does not wait for.
    defs = dg.Definitions(assets=upkeep_assets(settings, declarations, Listener(say or _unheard, reports.append)))
    with open_instance(settings) as instance:
        result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=instance,
            asset_selection=[target.key for target in wanted],
            run_config={**QUIET, "ops": {target.op: {"config": config} for target in wanted}},
            raise_on_error=False,
        )
    return UpkeepRun(
        run_id=result.run_id,
        url=run_url(settings, result.run_id),
        success=result.success,
        reports=tuple(reports),
        # Upkeep looks for nothing: what it cannot do is an error.
        failures=tuple(replace(failure, finding=False) for failure in failures_of(result)),
    )


def _find(declarations: Declarations, name: TableName) -> Target:
    known = {target.name: target for target in upkeep_targets(declarations)}
    if name in known:
        return known[name]
    near = get_close_matches(str(name), map(str, known), n=1)
    raise SettingsError(
        f"there is no upkeep of {name}: no contract declares it",
        remedy=f"Did you mean {near[0]}?" if near else "Run `lakehouse table list` for the tables there are.",
    )


def _unheard(_: Any) -> None:  # noqa: ANN401  (whatever is told to nobody)
    """Nobody listens."""
