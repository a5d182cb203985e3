"""The server that `fork_server.py` talks to: it imports dbt and forks. What a fork does then is `dbt_main.py`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from lakehouse.environment import take_environment

ANSWER_BYTES = 64 * 1024
"""No answer is longer."""
END = b"\n"
"""The end of each question."""
_FILES = 4
"""Of each fork: stdin, stdout, stderr, and the end of a pipe that closes with its last breath."""


def import_dbt() -> None:
    """Import what a run of dbt needs: in each fork it would be imported again."""
    import lakehouse.transform.dbt_main  # noqa: PLC0415
    import lakehouse.transform.dbt_plugin  # noqa: F401, PLC0415


def main() -> None:
    """Import what a run of dbt needs, then serve."""
    control = socket.socket(fileno=int(sys.argv[1]))
    import_dbt()
    serve(control)


def serve(control: socket.socket) -> NoReturn:
    """Fork when told to, until nobody is there to tell."""
    from lakehouse.transform.dbt_main import main as run_dbt  # noqa: PLC0415

    # Who started this may ignore it, as Dagster does where Ctrl-C is ignored; a fork may be told in its first moment.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
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
    message, files, _, _ = socket.recv_fds(control, ANSWER_BYTES, _FILES)
    while message and not message.endswith(END):
        message += control.recv(ANSWER_BYTES)
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
