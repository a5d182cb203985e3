"""The tree of commands. One module a noun; the bare commands stand here."""

from __future__ import annotations

import typer

from lakehouse.cli import (
    add,
    backfill,
    branch,
    check,
    contract,
    demo,
    load,
    new,
    quality,
    query,
    reject,
    restore,
    run,
    service,
    settings,
    table,
    ui,
    upkeep,
    why,
)

app = typer.Typer(
    name="lakehouse",
    help="Bronze, silver and gold Iceberg tables, one file per table, seen in Dagster.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(demo.app, name="demo")
app.command("ui")(ui.ui)
app.command("query")(query.query)
app.command("check")(check.check)
app.command("add")(add.add)
app.command("new")(new.new)
app.command("run")(run.run)
app.command("restore")(restore.restore)
app.command("why")(why.why)
app.command("backfill")(backfill.backfill)
app.add_typer(table.app, name="table")
app.add_typer(load.app, name="load")
app.add_typer(contract.app, name="contract")
app.add_typer(branch.app, name="branch")
app.add_typer(quality.app, name="quality")
app.add_typer(reject.app, name="reject")
app.add_typer(upkeep.app, name="upkeep")
app.add_typer(service.app, name="service")
app.add_typer(settings.app, name="settings")
