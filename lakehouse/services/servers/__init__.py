"""Servers of others, pinned, built and run on loopback: MinIO, VersityGW, Iceberg's REST catalog, Toxiproxy.

What belongs here: getting them, and the `ServiceSpec` that starts each (`process.start`). What does not: who uses them,
and the addresses of a project (`services/endpoints.py`). Toxiproxy's client is `toxics.py`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.services.servers import minio, versitygw
from lakehouse.services.servers.install import cache_folder, install, installed
from lakehouse.services.servers.rest_catalog import rest_catalog_spec
from lakehouse.services.servers.toxiproxy import toxiproxy_spec
from lakehouse.services.servers.versions import ServerKind
from lakehouse.services.status import ServiceSpec

__all__ = [
    "S3_KINDS",
    "ServerKind",
    "cache_folder",
    "install",
    "installed",
    "rest_catalog_spec",
    "s3_spec",
    "toxiproxy_spec",
]

S3_KINDS = (ServerKind.MINIO, ServerKind.VERSITYGW)


def s3_spec(  # noqa: PLR0913  (the keys are given by name)
    kind: ServerKind,
    installed: Path,
    data: Path,
    *,
    access_key: SecretStr,
    secret_key: SecretStr,
    port: int | None = None,
) -> ServiceSpec:
    """An S3 server over a data folder, of either kind. Raises ServiceError for a kind that speaks no S3."""
    match kind:
        case ServerKind.MINIO:
            return minio.spec(installed, data, access_key=access_key, secret_key=secret_key, port=port)
        case ServerKind.VERSITYGW:
            return versitygw.spec(installed, data, access_key=access_key, secret_key=secret_key, port=port)
        case _:
            kinds = " or ".join(S3_KINDS)
            raise ServiceError(f"{kind} is no S3 server", expected=kinds, remedy=f"Name {kinds}.")
