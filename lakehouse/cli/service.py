"""`lakehouse service up|status|down`: the embedded services of the project."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

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

    show_rows([asdict(service) for service in services_status(load_settings())], as_json=as_json)


@app.command()
def down(
    *, remove: Annotated[bool, typer.Option(help="Also delete PostgreSQL's data, wherever it lives.")] = False
) -> None:
    """Stop what runs. State stays unless --remove is given."""
    from lakehouse.demo.services import stop_services
    from lakehouse.services.endpoints import embedded_postgres

    settings = load_settings()
    stop_services(settings)
    if remove:
        embedded_postgres(settings).remove()
    out.print("Stopped, and PostgreSQL's data removed." if remove else "Stopped.")
