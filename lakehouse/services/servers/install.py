"""Servers fetched and built once, by version, into a folder that survives `make clean`.

A version's folder is there whole or not at all. What is in it, and how it is started, is each server's own module.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import StateError
from lakehouse.services.processes import locked
from lakehouse.services.servers import minio, rest_catalog, toxiproxy, versitygw
from lakehouse.services.servers.versions import ServerKind
from lakehouse.settings import Settings

_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class _Recipe:
    version: str
    build: Callable[[Path], None]
    minutes: float


def cache_folder(settings: Settings) -> Path:
    """Where a project keeps the servers that it fetched or built: `.cache/servers`, outside of its state."""
    return settings.project / ".cache" / "servers"


def installed(kind: ServerKind, cache: Path) -> Path | None:
    """The folder of the pinned version, None when it was not installed."""
    folder = cache / kind / _recipe(kind).version
    return folder if folder.is_dir() else None


def install(kind: ServerKind, cache: Path, *, on_progress: Callable[[str], None] | None = None) -> Path:
    """The folder of the pinned version, fetched and built when it is not there: one at a time, over all processes.

    `on_progress` is told what begins and how long it took. Raises ServiceError when a tool is missing or fails or the
    fingerprint is another, StateError when the folder cannot be written to.
    """
    found = installed(kind, cache)
    if found is not None:
        return found
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / "lock"):
            return installed(kind, cache) or _install(kind, cache, on_progress or _silent)
    except OSError as error:
        raise StateError(
            f"{kind} cannot be installed",
            expected=f"a folder {cache} that can be written to",
            found=error.strerror or str(error),
            remedy="Free some room, or mend the folder's permissions.",
        ) from error


def _install(kind: ServerKind, cache: Path, say: Callable[[str], None]) -> Path:
    recipe = _recipe(kind)
    began = time.monotonic()
    say(f"{kind} {recipe.version}: fetching and building, about {recipe.minutes:g} min ...")
    # What a killed installation left; nobody else is at work, for we hold the lock.
    for left in cache.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=cache))
    try:
        recipe.build(fresh)
        fresh.chmod(0o755)
        folder = cache / kind / recipe.version
        folder.parent.mkdir(exist_ok=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    say(f"{kind} {recipe.version}: ready after {time.monotonic() - began:.0f} s")
    return folder


def _recipe(kind: ServerKind) -> _Recipe:
    match kind:
        case ServerKind.MINIO:
            return _Recipe(minio.VERSION, minio.build, minio.MINUTES)
        case ServerKind.VERSITYGW:
            return _Recipe(versitygw.VERSION, versitygw.build, versitygw.MINUTES)
        case ServerKind.TOXIPROXY:
            return _Recipe(toxiproxy.VERSION, toxiproxy.build, toxiproxy.MINUTES)
        case ServerKind.REST_CATALOG:
            return _Recipe(rest_catalog.version(), rest_catalog.build, rest_catalog.MINUTES)


def _silent(_line: str) -> None:
    """Nobody listens."""
