"""VersityGW, the other S3 server: objects are plain files, and it is built in a third of MinIO's time."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from lakehouse.services.servers import go
from lakehouse.services.servers.versions import VERSITYGW, ServerKind
from lakehouse.services.status import ServiceSpec

VERSION = VERSITYGW.version
MINUTES = VERSITYGW.minutes

# No bucket can have this name.
_HEALTH = "/_health"


def build(into: Path) -> None:
    """Build the program into the folder. Raises ServiceError."""
    go.build(VERSITYGW, ServerKind.VERSITYGW, into)


def spec(
    installed: Path, data: Path, *, access_key: SecretStr, secret_key: SecretStr, port: int | None = None
) -> ServiceSpec:
    """The service over a data folder, on a file system with extended attributes; the keys are its owner's."""
    objects, versions = data / "objects", data / "versions"
    for folder in (objects, versions):
        folder.mkdir(parents=True, exist_ok=True)
    listen = ("--quiet", "--port", "127.0.0.1:{port}", "--region", "us-east-1", "--health", _HEALTH)
    return ServiceSpec(
        ServerKind.VERSITYGW.value,
        (str(installed / ServerKind.VERSITYGW), *listen, "posix", "--versioning-dir", str(versions), str(objects)),
        port=port,
        environment={"ROOT_ACCESS_KEY": access_key, "ROOT_SECRET_KEY": secret_key},
        health=_HEALTH,
    )
