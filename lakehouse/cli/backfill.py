"""`lakehouse backfill TABLE`: compute days anew, or the days that are out of date; or only say which, and why."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.bars import bars
from lakehouse.cli.output import AsJson, err, out, show_json, show_rows
from lakehouse.cli.run import DAY, show_outcome, staging_views, window_of
from lakehouse.cli.why import days_text, span_text
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import TableName, Window
from lakehouse.telemetry import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakehouse.orchestration.backfill_plan import Plan, Request
    from lakehouse.orchestration.demo import Outcome
    from lakehouse.orchestration.runs import RunReport

_MODELS_FIRST = "Further days may follow when the tables without days are built."


def backfill(  # noqa: PLR0913  (each is an option of the command)
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table built by days, e.g. gold.daily_revenue.")],
    *,
    first: Annotated[datetime | None, typer.Option("--from", formats=DAY, help="First day.")] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last day, inclusive; default: the first.")
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Only days that are out of date; of all days where none are named.")
    ] = False,
    upstream: Annotated[
        bool, typer.Option("--upstream", help="Also what it is computed from; bronze is not loaded.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be computed, and why.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute days of a table anew from what is there, in runs of the project's Dagster instance.

    Days without a gap between them are one run. Good days are published though others are not.
    """
    from lakehouse.contracts import read_tables
    from lakehouse.orchestration.backfill import Backfill, require_days
    from lakehouse.orchestration.backfill_plan import Request
    from lakehouse.orchestration.project import ready_models, warm

    settings = load_settings()
    window = window_of(first, last)
    if window is None and not stale:
        raise SettingsError(
            "no days are named", remedy="Say which: --from 2026-01-01 --to 2026-01-31; or --stale: all out of date."
        )
    request = Request(TableName.parse(name), window, stale=stale, upstream=upstream)
    # What is wrong with the words is said before anything is started for them.
    require_days(read_tables(settings.defs), request)
    if not dry_run:
        warm(settings)
    with err.status("looking which days are out of date"):
        declarations = ready_models(settings)
        plan = Backfill(settings, declarations, request).plan()
    if dry_run or plan.nothing:
        _show_plan(request, plan, as_json=as_json)
        return
    outcome = _carry_out(settings, request, plan)
    show_outcome(settings, outcome, as_json=as_json, more={"plan": _json(request, plan)})


def _carry_out(settings: Settings, request: Request, plan: Plan) -> Outcome:
    from lakehouse.orchestration.backfill import Backfill
    from lakehouse.orchestration.demo import Outcome
    from lakehouse.orchestration.home import open_instance
    from lakehouse.orchestration.project import definitions, prepare
    from lakehouse.orchestration.runs import run_tables

    outcome = Outcome()
    with bars():
        declarations = prepare(settings)
        defs = definitions(settings)
        meter = Meter(f"days of {request.table}", total=len(plan.days) or None, unit="days", every=0)
        work = Backfill(settings, declarations, request)
        with open_instance(settings) as instance:

            def run(tables: Sequence[TableName], window: Window | None) -> RunReport:
                err.print(f"building {', '.join(map(str, tables))}{_of_days(window)}", style="dim", highlight=False)
                also = staging_views(defs, tables)
                return run_tables(defs, instance, tables, also=also, window=window, part_of=work.tables)

            for window, report in work.carry_out(run):
                outcome.add(report)
                meter.add(0 if window is None else len(list(window.days)))
        meter.finish()
    return outcome


def _of_days(window: Window | None) -> str:
    return "" if window is None else f" for {days_text([window])}"


def _show_plan(request: Request, plan: Plan, *, as_json: bool) -> None:
    from lakehouse.orchestration.backfill_plan import stretches

    if as_json:
        show_json(_json(request, plan))
        return
    if plan.nothing:
        out.print(f"Nothing to compute: no day of {request.table} that was asked for is out of date.")
        return
    rows: list[dict[str, Any]] = [
        {"table": str(name), "days": "all of it", "why": why} for name, why in plan.models.items()
    ]
    for part in plan.parts:
        rows += [{"table": str(part.table), "days": days_text([window]), "why": why} for window, why in stretches(part)]
    show_rows(rows, as_json=False)
    days, runs = len(plan.days), len(plan.runs) + bool(plan.models)
    counted = f"{days:,} {'day' if days == 1 else 'days'} in {runs:,} {'run' if runs == 1 else 'runs'}"
    out.print(f"\n{counted}. {_MODELS_FIRST if plan.models else ''}".rstrip())


def _json(request: Request, plan: Plan) -> dict[str, Any]:
    return {
        "table": str(request.table),
        "asked": None if request.window is None else span_text(request.window),
        "stale": request.stale,
        "upstream": request.upstream,
        "models": [{"table": str(name), "why": why} for name, why in plan.models.items()],
        "parts": [
            {"table": str(part.table), "days": [{"day": day, "why": why} for day, why in part.days.items()]}
            for part in plan.parts
        ],
        "runs": [{"days": span_text(window), "tables": [str(name) for name in names]} for window, names in plan.runs],
    }
