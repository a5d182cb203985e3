"""`lakehouse upkeep health|plan|run`: how tables are doing, what would be done for them, and doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from lakehouse.cli.output import AsJson, err, out, show_json, show_rows
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake
    from lakehouse.orchestration.upkeep import UpkeepRun
    from lakehouse.upkeep import Action, Plan, UpkeepReport

app = typer.Typer(help="Packing files, expiring snapshots, removing orphans.", no_args_is_help=True)
Names = Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="Only these tables; default: all.")]
_FINDINGS, _ERROR = 1, 2
"""Exit codes."""


@app.command()
def health(names: Names = None, *, as_json: AsJson = False) -> None:
    """Print how tables are doing: files, deletes and snapshots, from their metadata alone."""
    from lakehouse.iceberg import LastReads
    from lakehouse.upkeep import health as health_of
    from lakehouse.upkeep import policy_of, size

    settings, lake = _opened()
    now, reads, wanted = datetime.now(UTC), LastReads(lake), _wanted(lake, names)
    found = [health_of(lake, name, policy_of(settings, lake, name), now=now, reads=reads) for name in wanted]
    if as_json:
        show_json([{**asdict(one), "table": str(one.table)} for one in found])
        return
    rows = [
        {
            "table": str(one.table),
            "files": one.files,
            "small": one.small_files,
            "size": size(one.bytes),
            "rows": one.rows,
            "delete files": one.delete_files,
            "manifests": one.manifests,
            "snapshots": one.snapshots,
            "to expire": one.expirable_snapshots,
            "oldest": one.oldest_snapshot_at.date() if one.oldest_snapshot_at else None,
            "refs": one.branches + one.tags + one.leases,
        }
        for one in found
    ]
    show_rows(rows, as_json=False)


@app.command()
def plan(names: Names = None, *, as_json: AsJson = False) -> None:
    """Print what upkeep would pack and expire now, and why. Nothing is changed, and no storage is listed."""
    from lakehouse.iceberg import LastReads
    from lakehouse.upkeep import plan_upkeep, policy_of, size

    settings, lake = _opened()
    now, reads, wanted = datetime.now(UTC), LastReads(lake), _wanted(lake, names)
    plans = [plan_upkeep(lake, name, policy_of(settings, lake, name), now=now, reads=reads) for name in wanted]
    if as_json:
        show_json([_plan_json(one) for one in plans])
        return
    rows = [
        {
            "table": str(one.table),
            "groups": len(one.groups),
            "files to pack": one.files,
            "size": size(one.bytes),
            "files left alone": one.left,
            "snapshots to expire": len(one.expiry.snapshots),
            "refs to remove": len(one.expiry.refs),
        }
        for one in plans
    ]
    show_rows(rows, as_json=False)
    _say_why(plans)


@app.command()
def run(
    names: Names = None,
    *,
    action: Annotated[
        list[str] | None, typer.Option(help="Only this: compact, expire or orphans. May be given several times.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keep tables up, in a run of the project's Dagster instance.

    Exit code 1 when something is refused, 2 when an action fails.
    """
    from lakehouse.orchestration.upkeep import run_upkeep

    settings, lake = _opened()
    done = run_upkeep(
        settings,
        _declared(settings, lake) if not names else [TableName.parse(name) for name in names],
        actions=_actions(action),
        dry_run=dry_run,
        say=lambda line: err.print(line, style="dim", highlight=False),
    )
    _show_run(done, as_json=as_json)
    if not done.success or done.failures:
        raise typer.Exit(_ERROR)
    if any(report.refused for report in done.reports):
        raise typer.Exit(_FINDINGS)


def _show_run(done: UpkeepRun, *, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "run": done.url,
                "tables": [_report_json(report) for report in done.reports],
                "failures": [str(failure) for failure in done.failures],
            }
        )
        return
    show_rows([_report_row(report) for report in done.reports], as_json=False)
    for report in done.reports:
        for reason in report.refused:
            out.print(f"{report.table}: {reason}")
    for failure in done.failures:
        err.print(Text.assemble(("error ", "bold red"), str(failure)))
    err.print(f"In the UI (`lakehouse ui`): {done.url}", style="dim")


def _report_row(report: UpkeepReport) -> dict[str, Any]:
    from lakehouse.upkeep import size

    def change(before: object, after: object) -> str:
        return f"{before} -> {after}" if before != after else str(after)

    before, after, seconds = report.before, report.after, sum(report.seconds.values())
    return {
        "table": str(report.table),
        "files": change(before.files, after.files),
        "size": change(size(before.bytes), size(after.bytes)),
        "delete files": change(before.delete_files, after.delete_files),
        "snapshots": change(before.snapshots, after.snapshots),
        "files deleted": report.files_deleted,
        "freed": size(report.bytes_deleted),
        "orphans": report.orphans.found if report.orphans else None,
        "seconds": round(seconds, 2),
        "outcome": ", ".join(_told(report)) or "nothing to do",
    }


def _told(report: UpkeepReport) -> list[str]:
    from lakehouse.upkeep import Outcome

    ended = {action: report.outcome(action) for action in report.seconds}
    return [f"{action.value} {outcome.value}" for action, outcome in ended.items() if outcome is not Outcome.NOTHING]


def _report_json(report: UpkeepReport) -> dict[str, Any]:
    def figures(value: Any) -> dict[str, Any] | None:  # noqa: ANN401  (any of the results, all dataclasses)
        return None if value is None else {**asdict(value), "table": str(report.table)}

    return {
        "table": str(report.table),
        "run_id": report.run_id,
        "dry_run": report.dry_run,
        "plan": _plan_json(report.plan),
        "before": figures(report.before),
        "after": figures(report.after),
        "compaction": figures(report.compaction),
        "expiry": figures(report.expiry),
        "orphans": figures(report.orphans),
        "outcomes": {action.value: report.outcome(action) for action in report.seconds},
        "refused": report.refused,
        "troubles": report.troubles,
        "seconds": {action.value: taken for action, taken in report.seconds.items()},
    }


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "table": str(plan.table),
        "nothing": plan.nothing,
        "groups": [asdict(group) for group in plan.groups],
        "left": plan.left,
        "expiry": {**asdict(plan.expiry), "table": str(plan.table)},
        "reasons": plan.reasons,
        "refused": plan.refused,
    }


def _say_why(plans: Sequence[Plan]) -> None:
    for one in plans:
        for reason in (*one.reasons, *one.refused):
            out.print(f"{one.table}: {reason}", highlight=False)


def _opened() -> tuple[Settings, Lake]:
    from lakehouse.iceberg import Lake

    settings = load_settings()
    return settings, Lake.open(settings)


def _actions(words: Sequence[str] | None) -> tuple[Action, ...] | None:
    from lakehouse.upkeep import Action

    if unknown := set(words or ()) - set(Action):
        raise SettingsError(
            f"upkeep has no action {', '.join(sorted(unknown))}",
            expected=f"some of {', '.join(Action)}",
            remedy="Mend --action.",
        )
    return tuple(map(Action, words)) if words else None


def _wanted(lake: Lake, names: Sequence[str] | None) -> tuple[TableName, ...]:
    return tuple(TableName.parse(name) for name in names) if names else lake.names()


def _declared(settings: Settings, lake: Lake) -> list[TableName]:
    """The tables that upkeep is about and that are there."""
    from lakehouse.contracts import read_tables
    from lakehouse.orchestration.upkeep_tables import upkeep_targets

    there = set(lake.names())
    return [target.name for target in upkeep_targets(read_tables(settings.defs)) if target.name in there]
