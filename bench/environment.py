"""Environments of Python for peers, made once into `.cache` from a locked file: their packages meet none of ours.

What a peer is asked to do does not belong here.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lakehouse.errors import ServiceError
from lakehouse.services.processes import locked, run

_ROOT = Path(__file__).resolve().parent.parent
_CACHE = _ROOT / ".cache"
_TAIL_LINES = 20
_READY = "ready"


def make(folder: Path, lock: Path, *, build_lock: Path | None = None) -> None:
    """An environment in `folder` with what `lock` names, by hash. Raises ServiceError when uv fails."""
    _uv("venv", "--python", sys.executable, folder)
    constraints = () if build_lock is None else ("--build-constraints", build_lock)
    _uv("pip", "install", "--python", folder / "bin" / "python", "--require-hashes", *constraints, "-r", lock)


def version(*pins: Path) -> str:
    """Of these files and this Python: eight hex digits."""
    digest = hashlib.sha256(sys.version.encode())
    for file in pins:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:8]


class Environment:
    """The peer `name`, as `deploy/<name>/requirements.lock` has it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = _ROOT / "deploy" / name / "requirements.lock"
        self.folder = _CACHE / name / version(self._lock)

    def program(self, name: str) -> Path:
        """A program of it, e.g. `python`. Raises ServiceError when it is not installed."""
        if not (self.folder / _READY).exists():
            raise ServiceError(
                f"{self._name} is not installed",
                expected=str(self.folder),
                remedy="Run the benchmark with --install once.",
            )
        return self.folder / "bin" / name

    def install(self, say: Callable[[str], None]) -> None:
        """Make it unless it is there, one at a time over all processes. Raises ServiceError when uv fails."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.folder.parent / "lock"):
            if (self.folder / _READY).exists():
                return
            began = time.monotonic()
            say(f"{self._name}: fetching it and what it needs ...")
            shutil.rmtree(self.folder, ignore_errors=True)
            make(self.folder, self._lock)
            (self.folder / _READY).touch()
            say(f"{self._name}: ready after {time.monotonic() - began:.0f} s")


def _uv(*words: str | Path) -> None:
    command: Sequence[str | Path] = [sys.executable, "-m", "uv", "--quiet", *words]
    done = run(command)
    if done.returncode != 0:
        raise ServiceError(
            f"making an environment failed: uv ended with {done.returncode}",
            found="\n".join(done.stdout.splitlines()[-_TAIL_LINES:]) or "no word from it",
            remedy="Check the network, and try again.",
        )
