"""Loopback ports: free or taken, answering or not, and whose they are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lakehouse.services.ports import answers, free_port, is_free, listens

SERVE = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/well" else 503)
        self.end_headers()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def _listening() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one.getsockname()[1]


@pytest.fixture
def other() -> Iterator[tuple[int, int]]:
    """Process id and port of a small HTTP server."""
    with subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        yield server.pid, int(server.stdout.readline())
        server.kill()


def test_free_port_can_be_listened_on() -> None:
    port = free_port()
    assert is_free(port)
    assert not answers(port)
    with socket.socket() as one:
        one.bind(("127.0.0.1", port))


def test_port_of_a_server_is_not_free_and_answers() -> None:
    with _listening() as port:
        assert not is_free(port)
        assert answers(port)


def test_port_whose_connections_were_used_a_moment_ago_is_free() -> None:
    with _listening() as port:
        socket.create_connection(("127.0.0.1", port)).close()
    assert is_free(port)


def test_health_is_the_answer_at_its_path(other: tuple[int, int]) -> None:
    _, port = other
    assert answers(port)
    assert answers(port, "/well")
    assert not answers(port, "/ill")
    assert not answers(free_port(), "/well")


def test_health_is_asked_directly_whatever_proxy_the_environment_names(
    other: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert answers(other[1], "/well")


def test_port_belongs_to_the_process_that_listens(other: tuple[int, int]) -> None:
    pid, port = other
    assert listens(pid, port)
    assert not listens(os.getpid(), port)
    with _listening() as ours:
        assert listens(os.getpid(), ours)
        assert not listens(pid, ours)
