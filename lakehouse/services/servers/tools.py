"""The programs of others that fetch and build: found on PATH, run, and their failure told in one sentence.

What they are asked to do does not belong here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from lakehouse.errors import ServiceError
from lakehouse.services.processes import run

_TAIL_LINES = 20
_REMEDY = {
    "go": "Install Go 1.26 or newer, so that `go version` answers, and try again.",
    "mvn": "Install Maven 3.8 or newer, so that `mvn -v` answers, and try again.",
    "java": "Install a JDK 17 or newer, so that `java -version` answers, and try again.",
    "javac": "Install a JDK 17 or newer (a JRE has no compiler), so that `javac -version` answers, and try again.",
}


def tool(name: str, purpose: str) -> Path:
    """Where the program is. Raises ServiceError with what to install when it is not on PATH."""
    found = shutil.which(name)
    if found is None:
        raise ServiceError(f"{purpose} needs the program {name!r}, which is not on PATH", remedy=_REMEDY[name])
    return Path(found)


def use(
    name: str, words: Sequence[str | Path], purpose: str, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Run the program to its end; answers what it said. Raises ServiceError with the end of that when it fails."""
    variables = [f"{variable}={value}" for variable, value in environment.items()]
    done = run(["/usr/bin/env", *variables, tool(name, purpose), *words])
    if done.returncode != 0:
        raise ServiceError(
            f"{purpose} failed: {name} ended with {done.returncode}",
            found="\n".join(done.stdout.splitlines()[-_TAIL_LINES:]) or "no word from it",
            remedy="Check the network and the version of the tool, and try again; nothing half is left behind.",
        )
    return done.stdout
