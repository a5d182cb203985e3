"""Every server that is fetched or built: where from, which version, and the fingerprint that it must have.

To take a newer one, change it here and nowhere else (of Java's libraries: in `java/pom.xml`, and the fingerprint here).
How they are fetched and started does not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ServerKind(StrEnum):
    """A server of others that we run for the local profile and for tests."""

    MINIO = "minio"
    VERSITYGW = "versitygw"
    REST_CATALOG = "rest-catalog"
    TOXIPROXY = "toxiproxy"


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program of a Go module. `checksum` is the module's, as in go.sum; `package` is below the module."""

    module: str
    version: str
    checksum: str
    package: str
    minutes: float


@dataclass(frozen=True, slots=True)
class JavaLibraries:
    """Iceberg's libraries from Maven Central, as `java/pom.xml` has them. `checksum` is over all of them, by name."""

    version: str
    checksum: str
    minutes: float


# The release tags of MinIO are no versions of a Go module: only the pseudo-version of a commit can be pinned.
MINIO = GoProgram(
    module="github.com/minio/minio",
    version="v0.0.0-20260212201848-7aac2a2c5b7c",
    checksum="h1:/qdoYujxF5MBLDMVLeiYJ/7fBa1HikX39Dvzb9Ji8pA=",
    package="",
    minutes=5,
)
VERSITYGW = GoProgram(
    module="github.com/versity/versitygw",
    version="v1.8.0",
    checksum="h1:au+wI+aybno/STsQiSm35Uu6Q6iK5MWReQxgO6SEMFc=",
    package="cmd/versitygw",
    minutes=2,
)
TOXIPROXY = GoProgram(
    module="github.com/Shopify/toxiproxy/v2",
    version="v2.5.0",
    checksum="h1:i4LPT+qrSlKNtQf5QliVjdP08GyAH8+BUIc9gT0eahc=",
    package="cmd/server",
    minutes=0.5,
)
REST_CATALOG = JavaLibraries(
    version="1.11.0",
    checksum="99107a54cf34847712f5bf31fbeb2b357d6bd27e5265ea70656feb5477f2b71d",
    minutes=0.5,
)
