"""A process that has imported dbt, and forks another for each run of dbt: seconds of imports are paid once.

One belongs to each process that runs dbt, which ends it when it ends itself, at once, also in the midst of imports; a
process that is killed leaves one that ends when it hears of nobody. Forks have sessions of their own, and go on. What a
fork does is `dbt_main.py`; how its pipes are used is `dbt_process.py`. This module is both ends: `ForkServer` here,
`main` there.
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
from typing import Any

from lakehouse.environment import environment, take_environment
from lakehouse.errors import TransformError

_CHUNK = 64 * 1024
_END = b"\n"
_FILES = 4
"""Of each fork: stdin, stdout, stderr, and the end of a pipe that closes with its last breath."""
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


class ForkServer:
    """The server's client; one question at a time, each with its answer. What the server prints goes to a file.

    It is closed when this process ends, if nobody has closed it before.
    """

    def __init__(self, log: Path) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with theirs, log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  (our own words)
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C is for the process that runs dbt, which ends what it started.
            )
        self._socket = ours
        self._lock = threading.Lock()
        self._owner = os.getpid()
        atexit.register(self.close)

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
                remedy=f"See {self._log}; `make demo` installs what is missing.",
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
            socket.send_fds(self._socket, [json.dumps(words).encode() + _END], files)
            answer = self._socket.recv(_CHUNK)
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
            _server = ForkServer(log)
        return _server


def main() -> None:
    """Import what a run of dbt needs, then fork when told to, until nobody is there to tell."""
    control = socket.socket(fileno=int(sys.argv[1]))
    # A fork's own imports would be made again in each; these are all that a build makes.
    import lakehouse.transform.dbt_plugin  # noqa: F401, PLC0415
    from lakehouse.transform.dbt_main import main as run_dbt  # noqa: PLC0415

    while True:
        words, files = _heard(control)
        if "reap" in words:
            os.waitpid(words["reap"], 0)
            control.send(b"{}")
            continue
        pid = os.fork()
        if pid == 0:
            control.close()
            _become(words["folder"], words["environment"], files)
            run_dbt()
            os._exit(0)
        for file in files:
            os.close(file)
        control.send(json.dumps({"pid": pid}).encode())


def _heard(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What is asked next, and the files that came with it. Ends the process when nobody is there to ask."""
    message, files, _, _ = socket.recv_fds(control, _CHUNK, _FILES)
    while message and not message.endswith(_END):
        message += control.recv(_CHUNK)
    if not message:
        os._exit(0)
    words: dict[str, Any] = json.loads(message)
    return words, files


def _become(folder: str, variables: Mapping[str, str], files: list[int]) -> None:
    """A process as if started anew: its own session, folder and files. The last of the files stays open as it is."""
    os.setsid()
    take_environment(variables)
    os.chdir(folder)
    for target, file in enumerate(files[:3]):
        os.dup2(file, target)
        os.close(file)
    os.set_inheritable(files[3], False)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(at, mode, closefd=False) for at, mode in enumerate("rww"))


if __name__ == "__main__":
    main()
