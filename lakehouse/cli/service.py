"""`lakehouse service up|status|down`: the embedded services of the project."""

from __future__ import annotations

import typer

from lakehouse.cli.output import AsJson, out, show_rows
from lakehouse.settings import load_settings

app = typer.Typer(help="The embedded services: PostgreSQL, the demo's API.", no_args_is_help=True)


@app.command()
def up() -> None:
    """Start what the project needs. Does nothing for what runs already."""
    from lakehouse.demo.services import ensure_services

    ensure_services(load_settings())
    status()


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Print what runs, where, and since when."""
    from lakehouse.demo.services import services_status

    show_rows(services_status(load_settings()), as_json=as_json)


@app.command()
def down() -> None:
    """Stop what runs. State stays."""
    from lakehouse.demo.services import stop_services

    stop_services(load_settings())
    out.print("Stopped.")
