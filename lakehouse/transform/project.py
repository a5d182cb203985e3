"""The dbt project made ready: contracts rendered, models compiled, the manifest where everybody looks for it.

Repeated calls cost a few milliseconds: nothing is done while neither contracts nor models have changed. What the
manifest says is `manifest.py`; running models is `run.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from lakehouse.contracts import read_tables
from lakehouse.errors import LakehouseError, TransformError
from lakehouse.settings import Settings
from lakehouse.storage import make_room
from lakehouse.transform.dbt_process import Request, started
from lakehouse.transform.events import error_of
from lakehouse.transform.folders import dbt_folder, manifest_file
from lakehouse.transform.render import MACROS, render

_CONTRACTS = ("*.yaml",)
_MODELS = ("*.sql", "*.yml", "*.yaml", "*.py")
_RENDERERS = ("render.py", "rule_tests.py")
_TOOLS = ("dbt-core", "dbt-duckdb", "lakehouse")


def parse(settings: Settings) -> Path:
    """Render the contracts, compile the models, and return the path of `manifest.json`. Needs no lake and no network.

    Raises ContractError for a contract that does not compile or has no model, TransformError for a model that does not.
    """
    dbt, manifest = dbt_folder(settings), manifest_file(settings)
    target, stamp = manifest.parent, manifest.with_name("inputs.sha256")
    make_room(target)
    with _alone(target):
        if manifest.is_file() and stamp.is_file() and stamp.read_text() == _fingerprint(settings, dbt):
            return manifest
        stamp.unlink(missing_ok=True)
        render(read_tables(settings.defs), dbt)
        _compile(settings, dbt, target)
        stamp.write_text(_fingerprint(settings, dbt))
    return manifest


def dbt_arguments(command: str, dbt: Path, target: Path) -> tuple[str, ...]:
    """What every call of dbt is told: where the project is, and where to leave its files."""
    folders = {"--project-dir": dbt, "--profiles-dir": dbt, "--target-path": target, "--log-path": target}
    return (command, *(part for option, folder in folders.items() for part in (option, str(folder))))


def outcome(error: LakehouseError | None, log: Path, *, ended: bool) -> None:
    """Raise what kept dbt from running; TransformError with the end of its log when it died without a word.

    StateError when it died because the folder of the log takes nothing more.
    """
    if error is not None:
        raise error
    if not ended:
        make_room(log.parent)  # On a full disk the log is empty, and that is the reason.
        tail = " ".join(log.read_text(encoding="utf-8", errors="replace").split("\n")[-4:]).strip()
        raise TransformError(
            "dbt's process ended without a report",
            found=tail or "nothing in its log",
            remedy=f"Look into {log.parent}.",
        )


def _compile(settings: Settings, dbt: Path, target: Path) -> None:
    offline = ("--no-introspect", "--no-populate-cache")
    models = (
        "--select",
        "resource_type:model",
        "--indirect-selection",
        "empty",
    )  # Tests are parsed, and that is enough.
    arguments = (*dbt_arguments("compile", dbt, target), *offline, *models)
    error, ended, log = None, False, target / "stderr.log"
    with started(Request(settings, arguments), log) as reports:
        for report in reports:
            if "end" in report:
                error, ended = error_of(report["end"]), True
    outcome(error, log, ended=ended)


def _fingerprint(settings: Settings, dbt: Path) -> str:
    """A hash of everything that the manifest depends on."""
    digest = hashlib.sha256(" ".join(version(tool) for tool in _TOOLS).encode())
    for module in _RENDERERS:
        digest.update(Path(__file__).with_name(module).read_bytes())
    for root, patterns in (*((folder, _CONTRACTS) for folder in settings.defs), (MACROS, _MODELS), (dbt, _MODELS)):
        for file in sorted(file for pattern in patterns for file in root.rglob(pattern)):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(root)} {content}\n".encode())
    return digest.hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time renders and compiles; the others wait and find it done."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
