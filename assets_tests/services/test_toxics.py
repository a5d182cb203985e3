"""What Toxiproxy does to connections, through its client: on a small HTTP server, so that it can be counted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from lakehouse.errors import ServiceError
from lakehouse.services.ports import free_port
from lakehouse.services.servers.toxics import Toxiproxy
from lakehouse.services.status import Status

BODY = b"0123456789" * 100_000


class _Upstream(ThreadingHTTPServer):
    """Counts the requests that it served."""

    def __init__(self) -> None:
        self.served = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """A connection that was cut is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Upstream

    def do_GET(self) -> None:
        self.server.served += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Requests are not worth a line."""


@pytest.fixture
def upstream() -> Iterator[_Upstream]:
    with _Upstream() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _get(port: int, seconds: float = 30) -> bytes:
    return httpx.get(f"http://127.0.0.1:{port}/", timeout=seconds, trust_env=False).content


def test_clean_proxy_changes_nothing(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    assert _get(toxiproxy.proxy("clean", upstream.address)) == BODY


def test_response_is_cut_and_whole_again(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    port = toxiproxy.proxy("cut", upstream.address)
    toxiproxy.add("cut", "short", "limit_data", bytes=300_000)
    with pytest.raises(httpx.RemoteProtocolError):
        _get(port)
    toxiproxy.remove("cut", "short")
    assert _get(port) == BODY


def test_response_is_lost_after_the_server_acted(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    port = toxiproxy.proxy("lost", upstream.address)
    toxiproxy.add("lost", "late", "timeout", timeout=200)
    with pytest.raises(httpx.RemoteProtocolError):
        _get(port)
    assert upstream.served == 1


def test_connections_are_refused_until_enabled(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    port = toxiproxy.proxy("down", upstream.address)
    toxiproxy.disable("down")
    with pytest.raises(httpx.ConnectError):
        _get(port)
    assert upstream.served == 0
    toxiproxy.enable("down")
    assert _get(port) == BODY


def test_late_answer_runs_into_the_clients_limit(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    port = toxiproxy.proxy("late", upstream.address)
    toxiproxy.add("late", "slow", "latency", latency=60_000)
    with pytest.raises(httpx.ReadTimeout):
        _get(port, 0.5)
    toxiproxy.reset()
    assert _get(port) == BODY


def test_share_of_nothing_hits_nothing(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    port = toxiproxy.proxy("some", upstream.address)
    toxiproxy.add("some", "cut", "limit_data", share=0.0, bytes=10)
    assert _get(port) == BODY


def test_two_proxies_do_not_share_toxics(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    first, second = toxiproxy.proxy("first", upstream.address), toxiproxy.proxy("second", upstream.address)
    assert first != second
    toxiproxy.disable("first")
    assert _get(second) == BODY


def test_proxies_go_with_their_client(toxiproxy_server: Status, upstream: _Upstream) -> None:
    assert toxiproxy_server.port is not None
    with Toxiproxy(toxiproxy_server.port) as client:
        port = client.proxy("mine", upstream.address)
        assert _get(port) == BODY
    with pytest.raises(httpx.ConnectError):
        _get(port)
    with Toxiproxy(toxiproxy_server.port) as client:
        assert _get(client.proxy("mine", upstream.address)) == BODY


def test_refusals_are_sentences(toxiproxy: Toxiproxy, upstream: _Upstream) -> None:
    toxiproxy.proxy("one", upstream.address)
    with pytest.raises(ServiceError, match="refuses POST /proxies") as refused:
        toxiproxy.proxy("one", upstream.address)
    assert refused.value.found is not None
    assert "already exists" in refused.value.found
    with pytest.raises(ServiceError, match="refuses DELETE"):
        toxiproxy.remove("one", "none")
    with pytest.raises(ServiceError, match="refuses POST"):
        toxiproxy.add("one", "x", "poison")


def test_proxy_that_does_not_run_is_a_sentence() -> None:
    with Toxiproxy(free_port()) as client, pytest.raises(ServiceError, match="does not answer"):
        client.proxy("one", "127.0.0.1:1")
