"""Programs built from Go modules. Which ones, and how they are started, does not belong here."""

from __future__ import annotations

import json
from pathlib import Path

from lakehouse.errors import ServiceError
from lakehouse.services.servers.tools import use
from lakehouse.services.servers.versions import GoProgram

# No other toolchain is downloaded behind our back, and no C compiler is needed.
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}


def build(program: GoProgram, name: str, into: Path) -> None:
    """Build `name` into the folder. Raises ServiceError, also when the module is not the one that was pinned."""
    purpose = f"building {name}"
    pinned = f"{program.module}@{program.version}"
    downloaded = use("go", ["mod", "download", "-json", pinned], purpose, _ENVIRONMENT)
    found = _checksum(downloaded)
    if found != program.checksum:
        raise ServiceError(
            f"{pinned} is not the module that was pinned",
            expected=program.checksum,
            found=found,
            remedy="Do not use it. Find out why it changed; the pins are in lakehouse/services/servers/versions.py.",
        )
    package = "/".join(part for part in (program.module, program.package) if part)
    words = ["install", "-ldflags", "-s -w", f"{package}@{program.version}"]
    use("go", words, purpose, {**_ENVIRONMENT, "GOBIN": str(into)})
    built = into / package.rpartition("/")[2]
    if built.name != name:
        built.rename(into / name)


def _checksum(said: str) -> str | None:
    """The module's checksum in go's answer, in which lines about downloads may come first."""
    answer = json.loads(said[said.index("{") :]) if "{" in said else {}
    found = answer.get("Sum")
    return str(found) if found is not None else None
