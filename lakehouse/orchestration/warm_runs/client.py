"""How the server is asked: one line of JSON each way, once it has said that it is there.

A server that is silent is asked nothing: who begins a run without it must know that it has not begun. What it answers
is decided in `server.py`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

SOCKET = "LAKEHOUSE_RUNS_SOCKET"
"""The variable that names the server's socket."""
READY = b"ready\n"
_READY_SECONDS = 5
_ANSWER_SECONDS = 20
_END = b"\n"
_CHUNK = 64 * 1024


def ask(words: Mapping[str, Any]) -> dict[str, Any] | None:
    """Its answer; None when there is no server, or it is silent: then nothing was asked.

    Raises OSError when it was asked and did not answer.
    """
    path = os.environ.get(SOCKET)
    if path is None:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.settimeout(_READY_SECONDS)
            connection.connect(path)
            ready = connection.recv(len(READY)) == READY
        except OSError:
            ready = False
        if not ready:
            return None
        connection.settimeout(_ANSWER_SECONDS)
        send(connection, words)
        return receive(connection)


def send(connection: socket.socket, words: Mapping[str, Any]) -> None:
    """One line."""
    connection.sendall(json.dumps(words).encode() + _END)


def receive(connection: socket.socket) -> dict[str, Any]:
    """One line. Raises ConnectionError when the other end is gone before its end."""
    text = b""
    while not text.endswith(_END):
        part = connection.recv(_CHUNK)
        if not part:
            message = "the other end is gone"
            raise ConnectionError(message)
        text += part
    found: dict[str, Any] = json.loads(text)
    return found
