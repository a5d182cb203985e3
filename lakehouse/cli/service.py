"""`lakehouse service install|up|status|down`: the services that the project runs itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_rows
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from lakehouse.services.servers import ServerKind

app = typer.Typer(
    help="The services that the project runs itself: PostgreSQL, the demo's API, S3 (profile local).",
    no_args_is_help=True,
)

_KINDS = "minio, versitygw, rest-catalog, toxiproxy"


@app.command()
def install(
    names: Annotated[list[str] | None, typer.Argument(help=f"Which of {_KINDS}. All without a name.")] = None,
) -> None:
    """Fetch and build servers into .cache/servers, which `make clean` leaves. Nothing for what is there already."""
    from lakehouse.services.servers import ServerKind, cache_folder
    from lakehouse.services.servers import install as install_server

    settings = load_settings()
    for kind in [_kind(name) for name in names or ServerKind]:
        out.print(str(install_server(kind, cache_folder(settings), on_progress=_progress)))


@app.command()
def up(
    *, s3: Annotated[str | None, typer.Option(help="The S3 server of profile local: minio or versitygw.")] = None
) -> None:
    """Start what the project needs; build its S3 server first, if it has one. Nothing for what runs already."""
    from lakehouse.demo.services import ensure_services

    settings = load_settings()
    _s3_up(settings, s3)
    ensure_services(settings)
    status()


def _s3_up(settings: Settings, name: str | None) -> None:
    from lakehouse.errors import SettingsError
    from lakehouse.services.endpoints import embedded_s3

    server = embedded_s3(settings)
    if server is not None:
        kind = None if name is None else _kind(name)
        server.install(kind, on_progress=_progress)
        server.ensure(kind)
    elif name is not None:
        raise SettingsError(
            f"profile {settings.profile} runs no S3 server itself",
            expected="embedded://s3 as s3.endpoint",
            found=settings.s3.endpoint or "none",
            remedy="Set LAKEHOUSE_PROFILE=local, or leave --s3 away.",
        )


def _kind(name: str) -> ServerKind:
    from lakehouse.errors import SettingsError
    from lakehouse.services.servers import ServerKind

    try:
        return ServerKind(name)
    except ValueError:
        raise SettingsError(f"no server {name!r}", expected=f"one of {_KINDS}", remedy="Name one of them.") from None


def _progress(line: str) -> None:
    typer.echo(line, err=True)


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
