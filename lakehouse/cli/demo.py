"""`lakehouse demo`: a simulated shop, loaded into bronze, silver and gold; `demo advance` lets it live on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.bars import bars
from lakehouse.cli.output import AsJson, err, out, show_failures, show_json, show_rows
from lakehouse.settings import Profile, Settings, load_settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.demo import Shop
    from lakehouse.orchestration.demo import DemoRuns, Figures, Outcome, Say, Stopped

app = typer.Typer(help="The demo: a shop's PostgreSQL, files and API as Iceberg tables.")


@app.callback(invoke_without_command=True)
def demo(
    context: typer.Context,
    *,
    days: Annotated[int, typer.Option(min=1, max=200, help="How many days the shop lives.")] = 30,
    scale: Annotated[
        float | None,
        typer.Option(min=0.01, help="1, the default of a new shop, is 2,000 customers and 20,000 orders in 30 days."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed gives the same shop; default of a new shop: 7.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the shop, load it after day 10, 20 and 30, and print what came out."""
    if context.invoked_subcommand is None:
        settings = load_settings()
        _run(
            settings,
            as_json=as_json,
            scale=scale,
            seed=seed,
            work=lambda runs, shop, say: runs.first_days(shop, days, say),
        )


@app.command()
def advance(
    *,
    days: Annotated[int, typer.Option(min=1, max=200, help="How many days the shop lives on.")] = 1,
    late: Annotated[int, typer.Option(min=0, help="How many payment files of past days arrive with them.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Let the shop live on, then load what is new and rebuild the days that changed."""
    settings = load_settings()
    _run(settings, as_json=as_json, work=lambda runs, shop, say: runs.advance(shop, days, late, say))


@app.command()
def deliver(
    *,
    late: Annotated[int, typer.Option(min=0, help="Files of past days, each with payments never sent before.")] = 0,
    bad: Annotated[bool, typer.Option("--bad", help="The newest day's file again, its amounts in cents.")] = False,
    good: Annotated[bool, typer.Option("--good", help="The newest day's file again, as it ought to be.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let payment files arrive and load none of them: the sensors of `lakehouse ui` do."""
    from lakehouse.demo import open_shop

    shop = open_shop(load_settings())
    files = list(shop.advance(0, late=late))
    if bad:
        files.append(shop.newest_file())
        shop.send_in_cents(files[-1])
    if good:
        files.append(shop.newest_file())
        shop.send_corrected(files[-1])
    show_rows([{"file": file} for file in files], as_json=as_json)


def _run(
    settings: Settings,
    *,
    as_json: bool,
    work: Callable[[DemoRuns, Shop, Say], Outcome],
    scale: float | None = None,
    seed: int | None = None,
) -> None:
    from lakehouse.demo import open_shop
    from lakehouse.orchestration.demo import DemoRuns, summary
    from lakehouse.orchestration.project import definitions, prepare, warm

    with bars():
        err.print("starting PostgreSQL and the shop's API", style="dim")
        warm(settings)
        declarations = prepare(settings)
        shop = open_shop(settings, scale=scale, seed=seed)
        runs = DemoRuns(settings, definitions(settings), declarations)
        outcome = work(runs, shop, lambda text: err.print(text, style="dim"))
    figures = summary(settings, outcome)
    (settings.state / "demo.json").write_text(json.dumps(figures, indent=2), encoding="utf-8")
    if as_json:
        show_json(figures)
    else:
        _show(settings, outcome, figures)
    show_failures(outcome)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _show(settings: Settings, outcome: Outcome, figures: Figures) -> None:
    rows = []
    for table in figures["tables"]:
        counts = outcome.count(TableName.parse(table["table"]))
        rows.append({**table, "snapshot_id": str(table["snapshot_id"]), **counts})
    show_rows(rows, as_json=False)
    checks = outcome.count()
    found = ", ".join(f"{count} {result}" for result, count in checks.items())
    out.print(f"\n{len(rows)} tables in {figures['seconds']} s; checks: {found}. {settings.state / 'demo.json'}\n")
    if figures["stopped"] is not None:
        _show_stopped(figures["stopped"])
    out.print(
        "What next:"
        if settings.profile is Profile.EMBEDDED
        else f"What next, with LAKEHOUSE_PROFILE={settings.profile.value}:"
    )
    out.print("  make ui                                       the tables, runs and lineage in Dagster")
    out.print("  .venv/bin/lakehouse demo advance --days 2 --late 1    the shop lives on, a file comes late")
    out.print('  .venv/bin/lakehouse query "select * from gold.daily_revenue order by 1"')
    out.print("  .venv/bin/lakehouse add --help                a table of your own")


def _show_stopped(stopped: Stopped) -> None:
    """The bad delivery, in a few lines."""
    out.print(f"A bad delivery was stopped: {stopped['file']} came with amounts in cents.", style="bold")
    for broken in stopped["rules"]:
        sample = f", {broken['sample']} rows as a sample" if broken["sample"] else ""
        out.print(f"  by      {broken['rule']} ({broken['severity']}): {broken['observed']}{sample}")
    kept = "as it was: the same snapshots before and after" if stopped["gold_unchanged"] else "CHANGED"
    out.print(f"  gold    {kept}")
    out.print(f"  look    {stopped['url']} after `make ui`, or `.venv/bin/lakehouse quality report`")
    out.print("  then    the provider sent the file again as it ought to be; it was loaded, judged and published\n")
