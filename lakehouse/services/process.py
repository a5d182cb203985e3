"""Services as detached processes, each with a record `<name>.json` (process id, port) in one folder.

What belongs here: starting, readiness, stopping and status of any such service. Which services there are does not: they
come in as `ServiceSpec` values from the layers above.
"""

from __future__ import annotations

import json
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import BaseModel, ValidationError

from lakehouse.errors import ServiceError, StateError
from lakehouse.services.ports import answers, free_port, is_free, listens
from lakehouse.services.processes import birth, end, locked, spawn
from lakehouse.services.status import PORT, ServiceSpec, Status

_log = structlog.get_logger(__name__)

_READY_SECONDS = 60.0
_TAIL_LINES = 20
_ATTEMPTS = 3


class Record(BaseModel):
    """What a started service left on disk. `born` tells its process from a later one with the same id."""

    pid: int
    born: str
    port: int
    started: datetime


def start(folder: Path, spec: ServiceSpec) -> Status:
    """Start the service unless it runs, and wait until its port answers.

    Safe when two start at once. Raises ServiceError when its port is another's, and with the end of its log when it
    ends or stays silent; StateError when the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{spec.name}.lock"):
            record = read_record(folder, spec.name)
            if record is None:
                record = _launch(folder, spec)
                _log.info("service_started", service=spec.name, pid=record.pid, port=record.port)
    except OSError as error:
        raise StateError(
            f"service {spec.name} cannot be started",
            expected=f"a folder {folder} that can be written to",
            found=error.strerror or str(error),
            remedy="Free some room, or set LAKEHOUSE_STATE to another folder.",
        ) from error
    return _status(folder, spec.name, record)


def status(folder: Path, name: str) -> Status:
    """Whether the service runs; starts nothing."""
    return _status(folder, name, read_record(folder, name))


def stop(folder: Path, name: str) -> None:
    """Ask the service to end (TERM), then end it (KILL). Does nothing when it does not run."""
    if not folder.is_dir():
        return
    with locked(folder / f"{name}.lock"):
        record = read_record(folder, name)
        if record is not None and not end(record.pid, record.born, [(signal.SIGTERM, 10), (signal.SIGKILL, 10)]):
            raise ServiceError(
                f"service {name} (process {record.pid}) does not stop", remedy=f"See {folder / name}.log, and end it."
            )
        if record is not None:
            _log.info("service_stopped", service=name, pid=record.pid)
        _file(folder, name).unlink(missing_ok=True)


def names(folder: Path) -> tuple[str, ...]:
    """The services that have a record, running or not."""
    return tuple(sorted(path.stem for path in folder.glob("*.json"))) if folder.is_dir() else ()


def read_record(folder: Path, name: str) -> Record | None:
    """The record of a service whose process is alive, else None."""
    try:
        record = Record.model_validate_json(_file(folder, name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None
    return record if birth(record.pid) == record.born else None


def _launch(folder: Path, spec: ServiceSpec) -> Record:
    """Start it; where a port of our choice was taken in the same moment, once more with another."""
    for name, value in spec.environment.items():
        if "\n" in value.get_secret_value():
            raise ServiceError(
                f"{name} of service {spec.name} has a line break in it",
                expected="one line",
                remedy="Mend the setting that it comes from.",
            )
    if spec.port is not None and not is_free(spec.port):
        raise ServiceError(
            f"service {spec.name} cannot listen on port {spec.port}: another program does",
            remedy="End that program, or choose another port.",
        )
    log = folder / f"{spec.name}.log"
    for _ in range(_ATTEMPTS):
        said = log.stat().st_size if log.exists() else 0
        chosen = (spec.port or free_port()) if spec.is_told_its_port else None
        record = _attempt(folder, spec, chosen)
        if record is not None:
            return record
        if chosen is None or spec.port is not None or is_free(chosen):
            break
    lines = log.read_bytes()[said:].decode(errors="replace").splitlines() if log.exists() else []
    raise ServiceError(
        f"service {spec.name} does not start",
        expected=f"a port that answers within {_READY_SECONDS:.0f} s",
        found="\n".join(lines[-_TAIL_LINES:]) or "no word from it",
        remedy=f"See {log}, mend the cause and try again.",
    )


def _attempt(folder: Path, spec: ServiceSpec, chosen: int | None) -> Record | None:
    """Start it once, and wait until it can be used; None when it ended or stayed silent."""
    port_file = folder / f"{spec.name}.port"
    port_file.unlink(missing_ok=True)
    command = [word.replace(PORT, str(chosen)) for word in spec.command]
    if chosen is None:
        command += ["--port-file", str(port_file)]
    pid = spawn(
        command,
        folder / f"{spec.name}.log",
        stdin=spec.stdin.get_secret_value(),
        folder=spec.folder,
        environment={name: value.get_secret_value() for name, value in spec.environment.items()},
    )
    born = birth(pid)
    deadline = time.monotonic() + _READY_SECONDS
    while born is not None and birth(pid) == born and time.monotonic() < deadline:
        port = chosen or _port(port_file)
        if port is not None and answers(port, spec.health) and (chosen is None or listens(pid, port)):
            record = Record(pid=pid, born=born, port=port, started=datetime.now(UTC))
            _write(_file(folder, spec.name), record.model_dump(mode="json"))
            port_file.unlink(missing_ok=True)
            return record
        time.sleep(0.02)
    if born is not None:
        end(pid, born, [(signal.SIGKILL, 10)])
    return None


def _status(folder: Path, name: str, record: Record | None) -> Status:
    log = folder / f"{name}.log"
    return Status(
        name,
        running=record is not None,
        pid=record.pid if record is not None else None,
        port=record.port if record is not None else None,
        log=log if log.exists() else None,
    )


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _port(file: Path) -> int | None:
    try:
        return int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return None


def _write(file: Path, value: object) -> None:
    """Whole or not at all: others read the record without the lock."""
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(json.dumps(value), encoding="utf-8")
    fresh.replace(file)
