"""`embedded://` addresses turned into real ones, and all of a project's services at once.

An address of a server that is not ours is answered as it is. What is behind an address does not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from lakehouse.errors import SettingsError, SourceUnreachable
from lakehouse.services import process
from lakehouse.services.s3_server import EmbeddedS3, bucket_names
from lakehouse.services.servers import cache_folder
from lakehouse.services.status import ServiceSpec, Status
from lakehouse.settings import S3, FilesSource, HttpSource, PostgresSource, Settings

if TYPE_CHECKING:
    from lakehouse.services.postgres import EmbeddedPostgres

_EMBEDDED = "embedded://"
_S3 = "s3"


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """The PostgreSQL that this project runs itself; nothing is started."""
    from lakehouse.services.postgres import EmbeddedPostgres  # noqa: PLC0415  (its driver, for those who have one)

    return EmbeddedPostgres(settings.state / "postgres")


def embedded_s3(settings: Settings) -> EmbeddedS3 | None:
    """The S3 server that this project runs itself, None when S3 is elsewhere; nothing is started."""
    name = _embedded_name(settings.s3.endpoint or "", "s3.endpoint")
    if name is None:
        return None
    if name != _S3:
        raise SettingsError(
            f"s3.endpoint {settings.s3.endpoint!r} is none of this project's services",
            expected=f"{_EMBEDDED}{_S3}",
            remedy="Set it to that, or to the address of an S3 server.",
        )
    roots = [source.root for source in settings.sources.values() if isinstance(source, FilesSource)]
    buckets = bucket_names([settings.warehouse, settings.dagster.logs or "", *roots])
    return EmbeddedS3(settings.state / "s3", _folder(settings), cache_folder(settings), settings.s3, buckets)


def s3_endpoint(settings: Settings) -> S3:
    """Where S3 is, with its keys; starts the embedded server and makes its buckets.

    Raises ServiceError when the embedded server is not installed or does not start.
    """
    server = embedded_s3(settings)
    return settings.s3 if server is None else server.ensure()


def catalog_uri(settings: Settings) -> SecretStr:
    """The Iceberg catalog's address in SQLAlchemy's form; starts the embedded server and makes the database."""
    uri = settings.catalog.uri
    database = _embedded_name(uri.get_secret_value(), "catalog.uri")
    return uri if database is None else embedded_postgres(settings).uri(database, driver="postgresql+psycopg")


def postgres_url(settings: Settings, url: SecretStr) -> SecretStr:
    """A source's address in libpq's form; starts the embedded server and makes the database when it is ours."""
    database = _embedded_name(url.get_secret_value(), "url")
    return url if database is None else embedded_postgres(settings).uri(database)


def http_url(settings: Settings, base_url: str) -> str:
    """An API's address without a slash at its end. Raises SourceUnreachable when it is ours and does not run."""
    name = _embedded_name(base_url, "base_url")
    if name is None:
        return base_url.rstrip("/")
    found = process.status(_folder(settings), name)
    if not found.running:
        raise SourceUnreachable(f"service {name} of this project does not run", remedy="Run `lakehouse service up`.")
    return f"http://127.0.0.1:{found.port}"


def embedded_http_names(settings: Settings) -> tuple[str, ...]:
    """The services that the settings' HTTP sources expect this project to run."""
    urls = [source.base_url for source in settings.sources.values() if isinstance(source, HttpSource)]
    return tuple(name for url in urls if (name := _embedded_name(url, "base_url")) is not None)


def services_status(settings: Settings, wanted: Iterable[str] = ()) -> tuple[Status, ...]:
    """Every service that the settings need, that is `wanted`, or that was started before; PostgreSQL first."""
    server = embedded_postgres(settings).status()
    postgres = (server,) if server.running or _needs_postgres(settings) else ()
    s3 = embedded_s3(settings)
    names = _names(settings, [*wanted, *([s3.status().name] if s3 is not None else [])])
    return (*postgres, *(process.status(_folder(settings), name) for name in names))


def start_services(settings: Settings, specs: Sequence[ServiceSpec] = ()) -> tuple[Status, ...]:
    """Start PostgreSQL and S3, when an address is embedded, and each of `specs`; what runs already is left alone."""
    if _needs_postgres(settings):
        embedded_postgres(settings).ensure()
    s3_endpoint(settings)
    for spec in specs:
        process.start(_folder(settings), spec)
    return services_status(settings, [spec.name for spec in specs])


def stop_services(settings: Settings, wanted: Iterable[str] = ()) -> tuple[Status, ...]:
    """Stop every service of this project, PostgreSQL last, for the others rely on it."""
    for name in process.names(_folder(settings)):
        process.stop(_folder(settings), name)
    embedded_postgres(settings).stop()
    return services_status(settings, wanted)


def _folder(settings: Settings) -> Path:
    return settings.state / "services"


def _names(settings: Settings, wanted: Iterable[str]) -> list[str]:
    return sorted({*wanted, *process.names(_folder(settings))})


def _needs_postgres(settings: Settings) -> bool:
    urls = [settings.catalog.uri, *(one.url for one in settings.sources.values() if isinstance(one, PostgresSource))]
    urls += [settings.dagster.storage] if settings.dagster.storage is not None else []
    return any(url.get_secret_value().startswith(_EMBEDDED) for url in urls)


def _embedded_name(url: str, setting: str) -> str | None:
    if not url.startswith(_EMBEDDED):
        return None
    name = url.removeprefix(_EMBEDDED).strip("/")
    if not name:
        raise SettingsError(
            f"{setting} {url!r} names nothing",
            expected=f"{_EMBEDDED}NAME",
            remedy="Name the database or service after the slashes.",
        )
    return name
