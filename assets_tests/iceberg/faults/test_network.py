"""The network to a catalog or to storage fails during a commit: rows are there once, and no reader notices.

Toxiproxy does to connections what bad networks do. After each fault the same run key runs again on the straight way:
what landed must be recognised, what did not must be written.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from lakehouse.errors import CatalogError
from lakehouse.iceberg import Lake
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.servers.toxics import Toxiproxy
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from conftest import Load

pytestmark = pytest.mark.services

Place = Callable[[str, str], Settings]
Begin = Callable[[Settings], "Load"]
Strike = Callable[[str, str], None]
TIMEOUT_S = 2
PATIENCE_S = 60


# name: the toxic; None: nobody listens any more. Bytes of an answer: lost but for its beginning, or cut in its middle.
TOXICS: dict[str, tuple[str, dict[str, int]] | None] = {
    "lost": ("limit_data", {"bytes": 30}),
    "cut": ("limit_data", {"bytes": 700}),
    "late": ("latency", {"latency": 60, "jitter": 20}),
    "silent": ("timeout", {"timeout": 0}),
    "reset": ("reset_peer", {"timeout": 0}),
    "refused": None,
}


@pytest.fixture
def strike(toxiproxy: Toxiproxy) -> Strike:
    """strike(proxy, name): from now on, this is done to its connections."""

    def act(proxy: str, name: str) -> None:
        toxic = TOXICS[name]
        if toxic is None:
            toxiproxy.disable(proxy)
        else:
            toxiproxy.add(proxy, "fault", toxic[0], **toxic[1])

    return act


class Line(socketserver.ThreadingTCPServer):
    """PostgreSQL over TCP, for our own listens on a unix socket only. `lossy`: no answer to a COMMIT arrives."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.lossy = threading.Event()
        self.lost = threading.Event()
        super().__init__(("127.0.0.1", 0), _Forward)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Forward(socketserver.BaseRequestHandler):
    server: Line

    def handle(self) -> None:
        committed = threading.Event()

        def back() -> None:
            while (data := upstream.recv(65536)) and not committed.is_set():
                self.request.sendall(data)
            if committed.is_set():
                self.server.lost.set()
            self.request.shutdown(socket.SHUT_RDWR)

        with socket.socket(socket.AF_UNIX) as upstream, suppress(OSError):
            upstream.connect(self.server.path)
            answers = threading.Thread(target=suppressed, args=(back,))
            answers.start()
            while data := self.request.recv(65536):
                if self.server.lossy.is_set() and b"COMMIT" in data:
                    committed.set()
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
            answers.join()


def suppressed(work: Callable[[], None]) -> None:
    with suppress(OSError):
        work()


@pytest.fixture
def line(postgres: EmbeddedPostgres) -> Iterator[Line]:
    [folder] = parse_qs(urlsplit(postgres.uri("iceberg").get_secret_value()).query)["host"]
    with Line(f"{folder}/.s.PGSQL.5432") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def over_tcp(settings: Settings, port: int) -> str:
    """The catalog's address by TCP, for a proxy that listens on `port`."""
    address = urlsplit(settings.catalog.uri.get_secret_value())
    return f"{address.scheme}://{address.username}@127.0.0.1:{port}{address.path}"


def test_a_database_whose_answer_to_a_commit_is_lost(place: Place, line: Line, begin: Begin) -> None:
    load = begin(place("postgres", "folder"))
    bent = load.bent(load.over(over_tcp(load.settings, line.port), TIMEOUT_S))
    with load.watched():
        heard = load.tried(bent, line.lossy.set)
        assert line.lost.is_set()
        assert heard is not None
        assert (heard.rows_added, heard.already_done) == (2, False)
        load.settle(landed=True)


@pytest.fixture(params=["rest", "postgres"])
def loaded(request: pytest.FixtureRequest, place: Place, toxiproxy: Toxiproxy, begin: Begin) -> tuple[Load, Settings]:
    """A load, and the lake's settings when its catalog is reached through the proxy `catalog`."""
    load = begin(place(request.param, "folder"))
    if request.param == "rest":
        server = urlsplit(load.settings.catalog.uri.get_secret_value()).netloc
        return load, load.over(f"http://127.0.0.1:{toxiproxy.proxy('catalog', server)}", TIMEOUT_S)
    line: Line = request.getfixturevalue("line")
    port = toxiproxy.proxy("catalog", f"127.0.0.1:{line.port}")
    return load, load.over(over_tcp(load.settings, port), TIMEOUT_S)


@pytest.mark.parametrize("fault", TOXICS)
def test_the_network_to_the_catalog_fails_during_a_commit(
    loaded: tuple[Load, Settings], strike: Strike, fault: str
) -> None:
    load, crooked = loaded
    bent = load.bent(crooked)
    with load.watched():
        heard = load.tried(bent, lambda: strike("catalog", fault))
        assert heard is not None or fault != "late"
        # Who heard of a success has one; who heard of a failure may have one.
        load.settle(landed=True if heard else None)


@pytest.mark.parametrize("fault", [fault for fault in TOXICS if fault != "late"])
def test_a_catalog_out_of_reach_is_an_error_of_ours_and_back_again_it_is_used(
    loaded: tuple[Load, Settings], strike: Strike, toxiproxy: Toxiproxy, fault: str
) -> None:
    load, crooked = loaded
    lake = Lake.open(crooked)
    strike("catalog", fault)
    told: list[BaseException] = []

    def ask() -> None:
        try:
            lake.table(load.table.name)
        except BaseException as error:  # noqa: BLE001  (looked at below, in the test's thread)
            told.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE_S)
    assert [type(error) for error in told] == [CatalogError]
    toxiproxy.reset()
    assert lake.table(load.table.name).stats().rows == 1


@pytest.mark.parametrize("kind", ["minio", "versitygw"])
@pytest.mark.parametrize("fault", TOXICS)
def test_the_network_to_s3_fails_during_a_write(  # noqa: PLR0913, PLR0917  (two parameters of the case, four fixtures)
    place: Place, begin: Begin, toxiproxy: Toxiproxy, strike: Strike, kind: str, fault: str
) -> None:
    load = begin(place("sqlite", kind))
    port = toxiproxy.proxy("s3", urlsplit(load.settings.s3.endpoint or "").netloc)
    s3 = load.settings.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{port}", "timeout_s": TIMEOUT_S})
    bent = load.bent(load.settings.model_copy(update={"s3": s3}))
    with load.watched():
        heard = load.tried(bent, lambda: strike("s3", fault))
        assert heard is not None or fault != "late"
        load.settle(landed=True if heard else None)
