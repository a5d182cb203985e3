"""MinIO, the S3 server of the local profile: one program, one data folder. Nothing relies on its own API."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from lakehouse.services.servers import go
from lakehouse.services.servers.versions import MINIO, ServerKind
from lakehouse.services.status import ServiceSpec

VERSION = MINIO.version
MINUTES = MINIO.minutes


def build(into: Path) -> None:
    """Build the program into the folder. Raises ServiceError."""
    go.build(MINIO, ServerKind.MINIO, into)


def spec(
    installed: Path, data: Path, *, access_key: SecretStr, secret_key: SecretStr, port: int | None = None
) -> ServiceSpec:
    """The service over a data folder; the keys (at least 3 and 8 characters) are its owner's."""
    # Its folder for certificates would else be made in the user's home.
    places = ("--certs-dir", str(data / "certs"), str(data / "objects"))
    return ServiceSpec(
        ServerKind.MINIO.value,
        (str(installed / ServerKind.MINIO), "server", "--quiet", "--address", "127.0.0.1:{port}", *places),
        port=port,
        environment={
            "MINIO_ROOT_USER": access_key,
            "MINIO_ROOT_PASSWORD": secret_key,
            # Neither its web console nor its question for updates: the S3 API on loopback is all that we need.
            "MINIO_BROWSER": SecretStr("off"),
            "MINIO_UPDATE": SecretStr("off"),
        },
        health="/minio/health/live",
    )
