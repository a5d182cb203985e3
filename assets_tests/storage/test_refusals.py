"""What a server on S3's side may do to us: refuse, break off in the middle of an answer, not be there."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

from lakehouse.errors import SourceRefused, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.storage.open import open_store
from lakehouse.storage.s3 import S3Store

CONTENT = bytes(range(256)) * 1000


class _Bucket(BaseHTTPRequestHandler):
    """`/lake/broken-N` breaks off N times in the middle of its bytes, then gives all; `/forbidden` denies."""

    asked: dict[str, int]

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/forbidden"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
            return
        times = self.asked[path] = self.asked.get(path, 0) + 1
        whole = times > int(path.rpartition("-")[2])
        self._answer(206, CONTENT if whole else CONTENT[: len(CONTENT) // 2], declared=len(CONTENT))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")

    def _answer(self, status: int, body: bytes, declared: int | None = None) -> None:
        self.send_response(status)
        size = len(body) if declared is None else declared
        self.send_header("Content-Length", str(size))
        self.send_header("Content-Range", f"bytes 0-{size - 1}/{size}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class' name)
        """Quiet."""


@pytest.fixture
def at(settings: Settings) -> Callable[..., S3Store]:
    """A store at a place of the server that listens on a port."""

    def make(port: int, root: str) -> S3Store:
        given = {"endpoint": f"http://127.0.0.1:{port}", "access_key": "k", "secret_key": "s"}
        found = open_store(settings.model_copy(update={"s3": type(settings.s3).model_validate(given)}), root)
        assert isinstance(found, S3Store)
        return found

    return make


@pytest.fixture
def port() -> Iterator[int]:
    handler = type("Bucket", (_Bucket,), {"asked": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("times", [0, 1, 4])
def test_an_answer_that_breaks_off_is_asked_for_again(at: Callable[..., S3Store], port: int, times: int) -> None:
    with at(port, "s3://lake").open(f"broken-{times}") as stream:
        assert stream.read() == CONTENT


def test_one_that_breaks_off_each_time_is_unreachable_and_never_short(at: Callable[..., S3Store], port: int) -> None:
    with pytest.raises(SourceUnreachable, match="broken-5 cannot be reached"):
        at(port, "s3://lake").open("broken-5")


def test_a_denied_bucket_is_refused(at: Callable[..., S3Store], port: int) -> None:
    store = at(port, "s3://forbidden/x")
    with pytest.raises(SourceRefused, match="AccessDenied"):
        list(store.list())
    with pytest.raises(SourceRefused):
        store.open("y")
    with pytest.raises(SourceRefused):
        store.put("y", b"")


def test_a_server_that_is_not_there_is_unreachable(at: Callable[..., S3Store]) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else can answer there meanwhile.
        taken.bind(("127.0.0.1", 0))
        store = at(taken.getsockname()[1], "s3://lake/landing")
        with pytest.raises(SourceUnreachable, match="s3://lake/landing cannot be reached"):
            list(store.list())
        with pytest.raises(SourceUnreachable, match="landing/x"):
            store.put("x", b"")
