"""The S3 server that a project runs itself (`embedded://s3`): its kind, its keys, its port, its buckets.

What belongs here: one server per state folder, remembered in one file for its owner only. What does not: how a kind is
built and started (`servers/`), and what is stored in the buckets.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from pydantic import BaseModel, SecretStr, ValidationError

from lakehouse.errors import ServiceError, StateError
from lakehouse.services import process
from lakehouse.services.buckets import make_buckets
from lakehouse.services.ports import is_free
from lakehouse.services.processes import locked
from lakehouse.services.servers import ServerKind, install, installed, s3_spec
from lakehouse.services.status import Status
from lakehouse.settings import S3

_log = structlog.get_logger(__name__)

# What both servers take a signature for; it names no place.
_REGION = "us-east-1"
DEFAULT = ServerKind.MINIO


class _Remembered(BaseModel):
    kind: ServerKind
    access_key: str
    secret_key: str
    port: int | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedS3:
    """One S3 server per folder; any number of processes may share it. Nothing is started by making this object.

    `folder` holds its objects and keys, `services` the records of the project's processes, `cache` the programs.
    `given` are the settings' keys, used instead of generated ones; `buckets` are made when the server starts.
    """

    folder: Path
    services: Path
    cache: Path
    given: S3
    buckets: tuple[str, ...] = ()

    def install(self, kind: ServerKind | None = None, *, on_progress: Callable[[str], None] | None = None) -> None:
        """Fetch and build what `ensure` starts, when it is not there. Raises ServiceError, as `ensure` does."""
        install(self._kind(kind), self.cache, on_progress=on_progress)

    def ensure(self, kind: ServerKind | None = None) -> S3:
        """Start the server unless it runs, make its buckets, and answer where it is, with its keys.

        Without `kind` it is the one that holds the folder's objects, else MinIO. Raises ServiceError when that is not
        installed, does not start, or another kind holds the objects; StateError when the folder cannot be written to.
        """
        wanted = self._kind(kind)
        remembered, status = self._read(), process.status(self.services, wanted)
        # The port is remembered last: who finds it there finds the buckets, too.
        if remembered is None or not status.running or remembered.port != status.port:
            remembered, status = self._start(wanted)
        return self._endpoint(remembered, status)

    def status(self) -> Status:
        """Whether it runs; starts nothing."""
        return process.status(self.services, self._kind(None))

    @property
    def _file(self) -> Path:
        return self.folder / "server.json"

    def _kind(self, wanted: ServerKind | None) -> ServerKind:
        remembered = self._read()
        if remembered is None:
            return wanted or DEFAULT
        if wanted not in (None, remembered.kind):
            raise ServiceError(
                f"this project's objects are held by {remembered.kind}, which {wanted} cannot read",
                expected=str(remembered.kind),
                found=str(wanted),
                remedy=f"Name {remembered.kind}, or remove the state with `make clean` and begin anew.",
            )
        return remembered.kind

    def _start(self, kind: ServerKind) -> tuple[_Remembered, Status]:
        program = installed(kind, self.cache)
        if program is None:
            raise ServiceError(
                f"{kind}, the S3 server of this project, is not installed",
                expected=f"a build of the pinned version in {self.cache}",
                remedy=f"Run `make services S3={kind}` or `lakehouse service up --s3 {kind}`.",
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / "lock"):
                return self._start_locked(self._kind(kind), program)
        except OSError as error:
            raise StateError(
                f"{kind} cannot be started",
                expected=f"a folder {self.folder} that can be written to",
                found=error.strerror or str(error),
                remedy="Free some room, or set LAKEHOUSE_STATE to another folder.",
            ) from error

    def _start_locked(self, kind: ServerKind, program: Path) -> tuple[_Remembered, Status]:
        remembered = self._read()
        if remembered is None:
            if process.status(self.services, kind).running:
                raise StateError(
                    f"{self._file} is gone while {kind} runs, and with it the keys",
                    remedy="Run `lakehouse service down`, and then `lakehouse service up`.",
                )
            remembered = _new(kind)
            self._write(remembered)
        key, secret = self._keys(remembered)
        spec = s3_spec(kind, program, self.folder / kind, access_key=key, secret_key=secret)
        if not process.status(self.services, kind).running and remembered.port is not None and is_free(remembered.port):
            # The port of last time: processes that run on keep their address.
            spec = replace(spec, port=remembered.port)
        status = process.start(self.services, spec)
        make_buckets(self._endpoint(remembered, status), self.buckets)
        remembered = remembered.model_copy(update={"port": status.port})
        self._write(remembered)
        return remembered, status

    def _keys(self, remembered: _Remembered) -> tuple[SecretStr, SecretStr]:
        if self.given.access_key is not None and self.given.secret_key is not None:
            return self.given.access_key, self.given.secret_key
        return SecretStr(remembered.access_key), SecretStr(remembered.secret_key)

    def _endpoint(self, remembered: _Remembered, status: Status) -> S3:
        key, secret = self._keys(remembered)
        return S3(endpoint=f"http://127.0.0.1:{status.port}", region=_REGION, access_key=key, secret_key=secret)

    def _read(self) -> _Remembered | None:
        try:
            return _Remembered.model_validate_json(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValidationError) as error:
            # What is wrong in it may be a key: only the kind of the error is told.
            raise StateError(
                f"{self._file} cannot be read",
                found=type(error).__name__,
                remedy="Mend the file or its permissions; without it, the objects beside it cannot be reached.",
            ) from None

    def _write(self, remembered: _Remembered) -> None:
        """Whole or not at all, and for its owner alone from the first byte on."""
        fresh = self._file.with_name(".server.json.new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            json.dump(remembered.model_dump(mode="json"), stream)
        fresh.replace(self._file)


def bucket_names(addresses: Iterable[str]) -> tuple[str, ...]:
    """The buckets of those of the addresses that are on S3."""
    found = (address.partition("://") for address in addresses)
    return tuple(sorted({rest.partition("/")[0] for scheme, _, rest in found if scheme in {"s3", "s3a", "s3n"}}))


def _new(kind: ServerKind) -> _Remembered:
    """A server that was never started: random keys, of a length that both kinds take."""
    return _Remembered(kind=kind, access_key=secrets.token_hex(10), secret_key=secrets.token_hex(20))
