"""`lakehouse add`: tables of a database or of files, with contracts proposed from their data, loaded at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import AsJson, err, out, show_json, show_rows
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.scaffold.write import Plan


def add(  # noqa: PLR0913  (the options of a command)
    source: Annotated[str, typer.Argument(help="postgresql://user:password@host/db, a file, folder or 'pattern'.")],
    *,
    domain: Annotated[str, typer.Option(help="The domain that the tables belong to: a folder of the project's defs.")],
    tables: Annotated[str | None, typer.Option(help="Only these, with commas between; default: all there are.")] = None,
    schema: Annotated[str, typer.Option(help="The schema of the database.")] = "public",
    name: Annotated[str | None, typer.Option(help="What the connection is called; default: the database's.")] = None,
    watermark: Annotated[
        str | None, typer.Option(help="The timestamp column set when a row changes, xmin or full.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put before the tables' names, e.g. erp_.")] = "",
    owner: Annotated[str | None, typer.Option(help="An address, or team:NAME; default: team:DOMAIN.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files, write nothing.")] = False,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Load the tables now, by a run of Dagster.")] = True,
    as_json: AsJson = False,
) -> None:
    """Look at a source, propose a contract for each table, write it with a staging model, and load the tables.

    Contracts that are there stay as they are. Exit code 1: a table was left out, or a check failed.
    """
    from lakehouse.scaffold.survey import Request, survey
    from lakehouse.scaffold.write import plan

    settings = load_settings()
    only = tuple(part.strip() for part in tables.split(",") if part.strip()) if tables else None
    request = Request(source, domain, only, schema, name, watermark, prefix)
    with err.status("looking at the source") as status:
        found = survey(settings, request, lambda label: status.update(f"looked at {label}"))
    planned = plan(settings, found, owner=owner or f"team:{domain}")
    if not dry_run:
        planned.write()
    figures = _figures(planned, written=not dry_run)
    if dry_run:
        _show_files(planned, figures, as_json=as_json)
    elif not as_json:
        _show(planned, figures)
    if not dry_run and run and planned.added:
        from lakehouse.cli.run import run_tables_now, show_outcome

        # The connection is in the settings now.
        settings = load_settings()
        outcome = run_tables_now(settings, [one.name for one in planned.added], staging=True)
        show_outcome(settings, outcome, as_json=as_json, more=figures)
    elif as_json and not dry_run:
        show_json(figures)
    if found.refusals:
        raise typer.Exit(1)


def _figures(planned: Plan, *, written: bool) -> dict[str, Any]:
    """What a program wants to know."""
    return {
        "written": written,
        "source": planned.survey.connection.name,
        "files": [str(path) for path in planned.files],
        "proposed": [
            {
                "table": str(one.name),
                "from": one.label,
                "rows_looked_at": one.rows,
                "complete": one.complete,
                "columns": len(one.columns),
                "primary_key": list(one.primary_key),
                "load": {"source": one.load.source, **one.load.options},
                "notes": list(one.notes),
            }
            for one in planned.added
        ],
        "kept": {str(name): str(path) for name, path in planned.kept.items()},
        "left_out": [
            {"from": one.label, "reason": one.reason, "remedy": one.remedy} for one in planned.survey.refusals
        ],
    }


def _show(planned: Plan, figures: dict[str, Any]) -> None:
    rows = [
        {
            "table": entry["table"],
            "from": entry["from"],
            "looked at": entry["rows_looked_at"],
            "columns": entry["columns"],
            "key": ", ".join(entry["primary_key"]) or "none found",
            "read by": entry["load"].get("watermark") or entry["load"].get("files"),
        }
        for entry in figures["proposed"]
    ]
    if rows:
        show_rows(rows, as_json=False)
    for one in planned.added:
        for note in one.notes:
            err.print(f"note     {one.name}: {note}")
    for table, path in planned.kept.items():
        err.print(f"kept     {table} has a contract already: {path}")
    for refusal in planned.survey.refusals:
        err.print(f"left out {refusal.label}: {refusal.reason}. {refusal.remedy}", style="red")
    for path in planned.files:
        out.print(f"{'wrote' if figures['written'] else 'would write'}  {path}", style="dim")
    secret = planned.survey.connection.secret
    if planned.new_connection and planned.added:
        where = f"; its password to {planned.secrets_file}, for you alone" if secret else ""
        did = "wrote" if figures["written"] else "would write"
        out.print(
            f"{did}  source {figures['source']} to {planned.settings.project / 'pyproject.toml'}{where}", style="dim"
        )
    if secret:
        variable = f"LAKEHOUSE_SOURCES__{figures['source'].upper()}__URL"
        out.print(f"elsewhere set the whole address in {variable}", style="dim")


def _show_files(planned: Plan, figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json({**figures, "texts": {str(path): text for path, text in planned.files.items()}})
        return
    _show(planned, figures)
    for path, text in planned.files.items():
        out.print(f"\n--- {path}", style="bold")
        typer.echo(text, nl=False)
