"""A process that has imported all that a run needs, and forks each run's process: it begins at once, not in 15 seconds.

`lakehouse ui` starts it beside Dagster (`start`); who asks it is `run_launcher.py`. It ends with Dagster, once its runs
have. When a file that it has imported changes, it starts itself anew; whoever asks meanwhile is told so by silence.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from lakehouse.orchestration.warm_runs_client import READY, SOCKET, receive
from lakehouse.orchestration.warm_runs_work import execute_run, import_all, report_lost

_PATIENCE_SECONDS = 5
Work = Callable[[], None]


def start(environment: Mapping[str, str]) -> dict[str, str]:
    """Start the server, which ends when this process has; the variables by which it is found. Nothing elsewhere.

    Asked before it has imported everything it is silent, and runs start as they do without it.
    """
    if sys.platform != "linux":
        return {}
    # Not in the state's folder: the path of a socket has 107 bytes.
    path = Path(tempfile.mkdtemp(prefix="lakehouse-runs-")) / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        ours, alive = os.pipe()
        # This process may become another program: the pipe stays open until its very end.
        os.set_inheritable(alive, True)
        words = [sys.executable, "-m", __name__, str(listener.fileno()), str(ours), "{}"]
        process = subprocess.Popen(words, pass_fds=[listener.fileno(), ours], env={**os.environ, **environment})  # noqa: S603
        os.close(ours)
    # It is not this process that waits for it.
    process.returncode = 0
    return {SOCKET: str(path)}


class _Server:
    """The runs under way, by process, and who may ask for more."""

    def __init__(self, listener: socket.socket, alive: int, runs: Mapping[int, str], imported: _Imported) -> None:
        self._listener, self._alive, self._imported = listener, alive, imported
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._answer)
        self._selector.register(alive, selectors.EVENT_READ, self._close)
        self._open = True
        self._runs: dict[int, str] = {}
        self._ends: dict[int, int] = {}
        for process, run_id in runs.items():
            self._watch(process, run_id)

    def serve(self) -> Work | None:
        """Answer until nobody may ask and no run is under way. In a forked process: what it is to do."""
        while self._open or self._runs:
            for key, _ in self._selector.select():
                work: Work | None = key.data()
                if work is not None:
                    return work
        return None

    def _answer(self) -> Work | None:
        connection, _ = self._listener.accept()
        with connection, suppress(OSError):  # Who asked is gone, or waited for too long.
            connection.settimeout(_PATIENCE_SECONDS)
            if self._imported.changed():
                self._start_anew()
            connection.sendall(READY)
            words = receive(connection)
            if "interrupt" in words:
                connection.sendall(json.dumps({"found": self._interrupt(words["interrupt"])}).encode() + b"\n")
            elif "execute" in words:
                process = os.fork()
                if process == 0:
                    connection.close()
                    return self._become(lambda: execute_run(words["execute"]))
                self._watch(process, words["run_id"])
                connection.sendall(json.dumps({"pid": process}).encode() + b"\n")
        return None

    def _interrupt(self, run_id: str) -> bool:
        """Ask a run's process to end, as Ctrl-C does; whether there is one."""
        for process in (process for process, one in self._runs.items() if one == run_id):
            os.kill(process, signal.SIGINT)
            return True
        return False

    def _watch(self, process: int, run_id: str) -> None:
        self._runs[process] = run_id
        self._ends[process] = end = os.pidfd_open(process)
        self._selector.register(end, selectors.EVENT_READ, lambda: self._ended(process))

    def _ended(self, process: int) -> Work | None:
        _, status = os.waitpid(process, 0)
        end = self._ends.pop(process)
        self._selector.unregister(end)
        os.close(end)
        run_id = self._runs.pop(process)
        if status and run_id:
            reporter = os.fork()
            if reporter == 0:
                return self._become(lambda: report_lost(run_id, process, os.waitstatus_to_exitcode(status)))
            self._watch(reporter, "")
        return None

    def _become(self, work: Work) -> Work:
        """Let go of all that is the server's, in a process forked from it."""
        self._listener.close()
        for end in (self._alive, *self._ends.values()):
            os.close(end)
        self._selector.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return work

    def _close(self) -> None:
        """Dagster has ended: nobody asks any more."""
        self._open = False
        for at in (self._listener, self._alive):
            self._selector.unregister(at)
        shutil.rmtree(Path(self._listener.getsockname()).parent, ignore_errors=True)
        self._listener.close()

    def _start_anew(self) -> None:
        """Become a process with the code as it is now; runs under way stay its children."""
        for at in (self._listener.fileno(), self._alive):
            os.set_inheritable(at, True)
        words = [str(self._listener.fileno()), str(self._alive), json.dumps(self._runs)]
        os.execv(sys.executable, [sys.executable, "-m", __name__, *words])  # noqa: S606  (our own words)


class _Imported:
    """The files that this process has imported, as they were."""

    def __init__(self, began: int) -> None:
        """`began`: nanoseconds of the time before the first import."""
        named = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
        self._files = {name: _as_it_is(name) for name in named if isinstance(name, str)}
        self._moved = any(found is not None and found[0] >= began for found in self._files.values())

    def changed(self) -> bool:
        """Whether one of them is another now, or became so while it was imported."""
        return self._moved or any(_as_it_is(name) != found for name, found in self._files.items())


def _as_it_is(file: str) -> tuple[int, int] | None:
    """Time of change in nanoseconds, and size; None where there is no file."""
    try:
        found = os.stat(file)  # noqa: PTH116  (thousands of files, at each run)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def main() -> None:
    """Import, then serve."""
    # Ctrl-C in the terminal is for the runs and for Dagster, with which this process ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    began = time.time_ns()
    listener, alive, runs = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), json.loads(sys.argv[3])
    import_all()
    gc.collect()
    gc.freeze()
    known = {int(process): run_id for process, run_id in runs.items()}
    work = _Server(listener, alive, known, _Imported(began)).serve()
    if work is not None:
        work()


if __name__ == "__main__":
    main()
