"""The server's start. What it does is `server.py`."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from lakehouse.orchestration.warm_runs.client import SOCKET

_SERVER = "lakehouse.orchestration.warm_runs.server"


def start(environment: Mapping[str, str]) -> dict[str, str]:
    """Start the server, which ends when this process has; the variable by which it is found. Nothing but on Linux.

    Asked before it has imported everything it is silent, and runs begin as they do without it.
    """
    if sys.platform != "linux":
        return {}
    # Not in the state's folder: a socket's path has at most 107 bytes.
    path = Path(tempfile.mkdtemp(prefix="lakehouse-runs-")) / "socket"
    ours, alive = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        for file in (listener.fileno(), ours):
            os.set_inheritable(file, True)
        words = [sys.executable, "-m", _SERVER, str(listener.fileno()), str(ours), "{}"]
        os.posix_spawn(sys.executable, words, environment)
    os.close(ours)
    # Open until the very end of this process, also when it becomes another program.
    os.set_inheritable(alive, True)
    return {SOCKET: str(path)}
