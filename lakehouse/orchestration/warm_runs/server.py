"""The process that runs are forked from: it answers who asks for one, and watches over those that it has forked.

It ends with Dagster, once its runs have. When a file changes that it has imported, it becomes a process with the code
as it is now; runs begin without it meanwhile, and so they do while that code cannot be imported.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import structlog

from lakehouse.orchestration.warm_runs.client import READY, receive, send
from lakehouse.orchestration.warm_runs.imported import Imported
from lakehouse.orchestration.warm_runs.work import execute_run, import_all, report_lost
from lakehouse.telemetry import configure_logs

_PATIENCE_SECONDS = 5
_log = structlog.get_logger(__name__)
Work = Callable[[], None]


class _Server:
    """The runs under way, by process, and who may ask for more."""

    def __init__(self, listener: socket.socket, alive: int, imported: Imported | None) -> None:
        """`alive` is readable once Dagster is gone; `imported` None: something could not be imported."""
        self._listener, self._alive, self._imported = listener, alive, imported
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ, self._answer)
        self._selector.register(alive, selectors.EVENT_READ, self._close)
        self._open = True
        self._runs: dict[int, str] = {}
        self._ends: dict[int, int] = {}

    def serve(self) -> Work | None:
        """Answer until nobody is there to ask and no run is under way. In a forked process: what it is to do."""
        while self._open or self._runs:
            for key, _ in self._selector.select():
                work: Work | None = key.data()
                if work is not None:
                    return work
        return None

    def watch(self, process: int, run_id: str) -> None:
        """Notice the end of a child."""
        self._runs[process] = run_id
        self._ends[process] = end = os.pidfd_open(process)
        self._selector.register(end, selectors.EVENT_READ, lambda: self._ended(process))

    def _answer(self) -> Work | None:
        if not self._open:
            # Dagster ended in the moment in which somebody asked.
            return None
        connection, _ = self._listener.accept()
        with connection, suppress(OSError):  # Who asked is gone; a run that it heard nothing of, Dagster has failed.
            connection.settimeout(_PATIENCE_SECONDS)
            connection.sendall(READY)
            words = receive(connection)
            if "interrupt" in words:
                send(connection, {"found": self._interrupt(words["interrupt"])})
            elif self._imported is None or self._imported.changed():
                send(connection, {"process": None})
                self._start_anew()
            else:
                return self._fork_run(connection, words)
        return None

    def _fork_run(self, connection: socket.socket, words: Mapping[str, Any]) -> Work | None:
        process = os.fork()
        if process == 0:
            connection.close()
            return self._become(lambda: execute_run(words["execute"]))
        self.watch(process, words["run_id"])
        send(connection, {"process": process})
        return None

    def _interrupt(self, run_id: str) -> bool:
        """Ask a run's process to end, as Ctrl-C does; whether there is one."""
        processes = [process for process, one in self._runs.items() if one == run_id]
        for process in processes:
            os.kill(process, signal.SIGINT)
        return bool(processes)

    def _ended(self, process: int) -> Work | None:
        _, status = os.waitpid(process, 0)
        end, run_id = self._ends.pop(process), self._runs.pop(process)
        self._selector.unregister(end)
        os.close(end)
        if status and run_id:
            reporter = os.fork()
            if reporter == 0:
                return self._become(lambda: report_lost(run_id, process, os.waitstatus_to_exitcode(status)))
            self.watch(reporter, "")
        return None

    def _become(self, work: Work) -> Work:
        """Let go of what is the server's, in a process forked from it."""
        self._selector.close()
        self._listener.close()
        for end in (self._alive, *self._ends.values()):
            os.close(end)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return work

    def _close(self) -> None:
        """Dagster is gone: nobody asks any more."""
        self._open = False
        for at in (self._listener, self._alive):
            self._selector.unregister(at)
        shutil.rmtree(Path(self._listener.getsockname()).parent, ignore_errors=True)
        self._listener.close()

    def _start_anew(self) -> None:
        """Become a process with the code as it is now. Runs under way stay its children."""
        for at in (self._listener.fileno(), self._alive):
            os.set_inheritable(at, True)
        words = [str(self._listener.fileno()), str(self._alive), json.dumps(self._runs)]
        os.execv(sys.executable, [sys.executable, "-m", __spec__.name, *words])  # noqa: S606  (our own words)


def main() -> None:
    """Import, then serve."""
    # Ctrl-C in a terminal reaches all processes; this one ends with Dagster.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries' own threads, which they restart after a fork, are no harm (Python >= 3.12 says so of all).
    warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
    listener, alive, runs = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), json.loads(sys.argv[3])
    server = _Server(listener, alive, _imported())
    for process, run_id in runs.items():
        server.watch(int(process), run_id)
    gc.collect()
    gc.freeze()
    work = server.serve()
    if work is not None:
        _carry_out(work)


def _carry_out(work: Work) -> NoReturn:
    """Do it, and end this process as Dagster's own processes of runs end: at once."""
    code: object = 0
    try:
        work()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  (the process ends with it, and says so)
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    # Libraries wait for their threads as Python takes itself down; DuckDB has been seen to do so for ever.
    os._exit(code if isinstance(code, int) else int(code is not None))


def _imported() -> Imported | None:
    began = time.time_ns()
    try:
        import_all()
    except Exception:  # noqa: BLE001  (whatever the code of the project raises)
        configure_logs(json=False)
        _log.exception("runs begin slowly until this is mended")
        return None
    return Imported(began)


if __name__ == "__main__":
    main()
