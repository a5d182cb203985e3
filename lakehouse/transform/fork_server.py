"""A process that has imported dbt, and forks another for each run of dbt: seconds of imports are paid once.

One belongs to each process that runs dbt, which ends it when it ends itself, at once, also in the midst of imports; a
process that is killed leaves one that ends when it hears of nobody. Forks have sessions of their own, and go on. What a
fork does is `dbt_main.py`; how its pipes are used is `dbt_process.py`; what the server does, `fork_serving.py`.
A process that has imported dbt itself can fork its server, too (`inherit`).
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from lakehouse.environment import environment
from lakehouse.errors import TransformError
from lakehouse.transform.fork_serving import ANSWER_BYTES, END, serve

_SERVER = "lakehouse.transform.fork_serving"
_GRACE_SECONDS = 5


class Fork:
    """A process forked for one run, in a session of its own. It stays a zombie, its pid its own, until `reap`."""

    def __init__(self, server: ForkServer, pid: int, life: int) -> None:
        self.pid = pid
        self._server, self._life = server, life

    def ended(self, within: float) -> bool:
        """Whether it ends in so many seconds; 0 asks about now."""
        ready, _, _ = select.select([self._life], [], [], within)
        return bool(ready)

    def end(self, grace: float) -> None:
        """Ask the process and all that it started to end, make it after `grace` seconds, and forget it."""
        if not self.ended(0):
            self._signal(signal.SIGTERM)
            if not self.ended(grace):
                self._signal(signal.SIGKILL)
                self.ended(grace)
        os.close(self._life)
        self._server.reap(self.pid)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It has not made its session yet, so it has started nothing; or it is gone, as its server is.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class _Process(Protocol):
    """What is needed of the server's process, as `subprocess.Popen` has it."""

    pid: int

    def poll(self) -> int | None: ...

    def kill(self) -> None: ...

    def wait(self, timeout: float) -> int: ...


class _Child:
    """A process that was forked from this one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # It is another's child, or was waited for.
                pid, status = self.pid, 0
            self._status = status if pid else None
        return self._status

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float) -> int:
        del timeout  # A killed process that was idle is gone at once.
        while (status := self.poll()) is None:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        return status


class ForkServer:
    """The server's client; one question at a time, each with its answer. `log` is where the server prints to.

    It is closed when this process ends, if nobody has closed it before.
    """

    def __init__(self, process: _Process, control: socket.socket, log: Path | None) -> None:
        self._process, self._socket, self._log = process, control, log
        self._lock = threading.Lock()
        self._owner = os.getpid()
        atexit.register(self.close)

    @classmethod
    def start(cls, log: Path) -> ForkServer:
        """A server in a new process of Python, which has everything to import."""
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (our own words)
                [sys.executable, "-m", _SERVER, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the process that runs dbt, which ends what it started.
            )
        return cls(process, ours, log)

    @classmethod
    def fork_off(cls) -> ForkServer:
        """A server forked from this process, which has imported what a run of dbt needs and has no other thread."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            os.setsid()
            serve(theirs)
        theirs.close()
        return cls(_Child(pid), ours, None)

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still fork."""
        return self._process.poll() is None

    def fork(self, folder: Path, files: Sequence[int]) -> Fork:
        """A process in a working directory, in our environment, with these files as stdin, stdout and stderr.

        Raises TransformError when dbt cannot be imported, or the server was killed.
        """
        ours, theirs = os.pipe()
        try:
            answer = self._ask({"folder": str(folder), "environment": environment()}, [*files, theirs])
        except OSError as error:
            os.close(ours)
            raise TransformError(
                "dbt cannot be started",
                found=str(error),
                remedy=f"See {self._log or 'the log of this run'}; `make demo` installs what is missing.",
            ) from error
        finally:
            os.close(theirs)
        return Fork(self, answer["pid"], ours)

    def reap(self, pid: int) -> None:
        """Let a process that has ended go."""
        with suppress(OSError):  # The server is gone, and with it who remembered.
            self._ask({"reap": pid})

    def _ask(self, words: Mapping[str, Any], files: Sequence[int] = ()) -> dict[str, Any]:
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(words).encode() + END], files)
            answer = self._socket.recv(ANSWER_BYTES)
        if not answer:
            message = "the server that starts it is gone"
            raise ConnectionError(message)
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """End the server; forks that still run go on. A process forked from the one that made it only lets go of it."""
        atexit.unregister(self.close)
        if self._owner == os.getpid():
            # It keeps nothing, and while it imports it would hear of nothing else.
            self._process.kill()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
        else:
            self._process.poll()  # It is no child of this process, which so learns that it has not to wait for it.
        self._socket.close()


_lock = threading.Lock()
_server: ForkServer | None = None


def fork_server(log: Path) -> ForkServer:
    """This process' server, started when first asked for, and anew when it died.

    It returns before the server has imported anything: to call it early is to have dbt sooner.
    """
    global _server  # noqa: PLW0603  (one server a process is the point)
    with _lock:
        if _server is not None and not _server.alive:
            _server.close()
            _server = None
        if _server is None:
            _server = ForkServer.start(log)
        return _server


def inherit() -> None:
    """Fork this process' server from itself: what it has imported is not imported again."""
    global _server  # noqa: PLW0603
    with _lock:
        _server = ForkServer.fork_off()
