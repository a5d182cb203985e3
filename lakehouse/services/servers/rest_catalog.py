"""Iceberg's own REST catalog (the reference servlet of its tests) over a SQLite file, run by Java 17 or newer.

Its source and its list of libraries are in `java/`. What clients do with it does not belong here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.services.servers.tools import tool, use
from lakehouse.services.servers.versions import REST_CATALOG, ServerKind
from lakehouse.services.status import ServiceSpec
from lakehouse.settings import S3

_JAVA = Path(__file__).parent / "java"
_POM, _SOURCE = _JAVA / "pom.xml", _JAVA / "RestCatalog.java"
MINUTES = REST_CATALOG.minutes


def version() -> str:
    """Iceberg's version and a mark of our own two files: another source is another build."""
    digest = hashlib.sha256(_POM.read_bytes() + _SOURCE.read_bytes())
    return f"{REST_CATALOG.version}-{digest.hexdigest()[:8]}"


def build(into: Path) -> None:
    """Fetch the libraries and compile the server into the folder. Raises ServiceError, also for other libraries."""
    purpose = f"fetching the libraries of {ServerKind.REST_CATALOG}"
    libraries = into / "libs"
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={libraries}"]
    use("mvn", ["-q", "-B", "-f", _POM, *goal], purpose)
    found = _checksum(libraries)
    if found != REST_CATALOG.checksum:
        raise ServiceError(
            f"the libraries of {ServerKind.REST_CATALOG} are not those that were pinned",
            expected=REST_CATALOG.checksum,
            found=found,
            remedy="Do not use them. Find out why they changed; the pin is in lakehouse/services/servers/versions.py.",
        )
    words: list[str | Path] = ["--release", "17", "-cp", f"{libraries}/*", "-d", into / "classes", _SOURCE]
    use("javac", words, f"compiling {ServerKind.REST_CATALOG}")


def rest_catalog_spec(
    installed: Path, database: Path, warehouse: str, *, s3: S3 | None, port: int | None = None
) -> ServiceSpec:
    """The service: its state in the SQLite file `database`, its tables below `warehouse` (`file:///...`, `s3://...`).

    `s3` says where an S3 warehouse is, with keys; None for a folder. Raises ServiceError without Java.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    classes = f"{installed / 'classes'}:{installed / 'libs'}/*"
    # A small heap and the plain collector: it is a server of a test, beside many others.
    sizes = ("-Xmx512m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    java = (str(tool("java", "the REST catalog")), *sizes, "-cp", classes, "RestCatalog")
    return ServiceSpec(
        ServerKind.REST_CATALOG.value,
        (*java, "{port}", str(database.absolute()), warehouse, *_files(s3)),
        port=port,
        environment=_keys(s3),
        health="/v1/config",
    )


def _files(s3: S3 | None) -> list[str]:
    if s3 is None:
        return ["io-impl=RestCatalog$Folder"]
    words = ["io-impl=org.apache.iceberg.aws.s3.S3FileIO", f"client.region={s3.region}"]
    return [*words, f"s3.endpoint={s3.endpoint}", "s3.path-style-access=true"] if s3.endpoint else words


def _keys(s3: S3 | None) -> dict[str, SecretStr]:
    if s3 is None or s3.access_key is None or s3.secret_key is None:
        return {}
    return {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}


def _checksum(libraries: Path) -> str:
    """One fingerprint of all libraries: SHA-256 over the lines of `sha256sum *.jar`."""
    digest = hashlib.sha256()
    for file in sorted(libraries.glob("*.jar")):
        digest.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n".encode())
    return digest.hexdigest()
