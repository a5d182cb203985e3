"""Make `.venv` beside a checkout and install the locked packages into it, only when the lock has changed.

Standard library only: `make` and `python -m lakehouse` run this before anything is installed. What the installed
command does belongs in `cli/`.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

MINIMUM = (3, 11)
_LOCKS = ("deploy/uv.lock", "requirements.lock", "pyproject.toml")
# What the commands and their child processes import.
_WARM = (
    "dagster_webserver.cli",
    "lakehouse.cli.app",
    "lakehouse.definitions",
    "lakehouse.demo.api",
    "lakehouse.iceberg.query",
    "lakehouse.ingest",
    "lakehouse.orchestration.demo",
    "lakehouse.transform.dbt_main",
    "sqlglot.lineage",
)


def main(root: Path | None = None) -> Path:
    """Bring `.venv` up to date with the lock and return its Python. Does nothing when it is."""
    root = root or Path(__file__).resolve().parent.parent
    if sys.version_info < MINIMUM:
        sys.exit(f"Python {'.'.join(map(str, MINIMUM))} or newer is needed, this is {sys.version.split()[0]}.")
    folder = root / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp, wanted = folder / ".installed", _digest(root)
    if python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    sys.stderr.write("Installing the locked packages into .venv ...\n")
    if not python.exists():
        venv.create(folder, with_pip=True, clear=folder.exists())
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "install", "--require-hashes", "-r", root / _LOCKS[0])
    uv = (python, "-m", "uv", "--quiet", "pip")
    _run(*uv, "install", "--python", python, "--require-hashes", "-r", root / _LOCKS[1])
    _run(*uv, "install", "--python", python, "--no-deps", "--no-build-isolation", "--editable", root)
    if sys.dont_write_bytecode:
        # Else every process would compile its modules anew: import once, with writing on, what commands import.
        _run(python, "-c", f"import {', '.join(_WARM)}", environment={"PYTHONDONTWRITEBYTECODE": ""})
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _digest(root: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for name in _LOCKS:
        digest.update((root / name).read_bytes())
    return digest.hexdigest()


def _run(*command: str | Path, environment: Mapping[str, str] = MappingProxyType({})) -> None:
    # A broken download must not leave a stamp: the exit code ends the process here.
    words = [str(part) for part in command]
    if code := subprocess.run(words, check=False, env={**os.environ, **environment}).returncode:  # noqa: S603
        sys.exit(code)


if __name__ == "__main__":
    main()
