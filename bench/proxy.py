"""A reverse HTTP proxy in this process: it counts requests, and answers chosen ones otherwise than its server did.

For the counts of `bench.s3` and for tests of lost, doubled and refused requests. What a bad network does to bytes is
Toxiproxy's work (`lakehouse/services/servers/toxics.py`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_HOP = {"connection", "keep-alive", "transfer-encoding", "expect", "proxy-connection", "content-length"}
_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """One request as it came: `path` with its query, as the client wrote it."""

    method: str
    path: str
    authorization: str = ""


@dataclass(frozen=True)
class Fault:
    """What is done to a request: how often the server gets it, and what the client hears.

    `status` None: the server's answer, unless `silent`: then the connection is closed without a word.
    """

    deliveries: int = 1
    status: int | None = None
    silent: bool = False


HONEST = Fault()


class Proxy:
    """In front of `upstream` (`http://host:port`), on a loopback port of its own, while the context lasts.

    `judge` says what to do to each request (default: nothing), `rewrite` what its body becomes (default: what it was);
    `seen` is every request so far, in order.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self.judge: Callable[[Request], Fault] = lambda _request: HONEST
        self.rewrite: Callable[[Request, bytes], bytes] = lambda _request, body: body
        self.seen: list[Request] = []
        proxy = self

        class Handler(_Handler):
            def answer(self) -> None:
                proxy._answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # By default 5 connections wait to be taken; Arrow opens more at once.
        self._server.socket.listen(128)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def counts(self) -> Counter[str]:
        """Requests by kind: PUT, POST, DELETE, HEAD, GET, and LIST for a GET of a bucket's keys."""
        return Counter("LIST" if _is_list(request) else request.method for request in self.seen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: _Handler) -> None:
        request = Request(handler.command, handler.path, handler.headers.get("Authorization", ""))
        self.seen.append(request)
        body = self.rewrite(request, handler.body())
        fault = self.judge(request)
        status, headers, content = fault.status or 0, {"Content-Type": "application/json"}, b""
        for _ in range(fault.deliveries):
            answer = self._forward(request, dict(handler.headers.items()), body)
            if fault.status is None:
                status, headers, content = answer
        if fault.silent or not status:
            handler.close_connection = True
            return
        handler.reply(status, headers, content)

    def _forward(self, request: Request, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self._upstream, timeout=_SECONDS)
        try:
            kept = {name: value for name, value in headers.items() if name.lower() not in _HOP}
            # The client's Host stays: it is part of what S3's signatures cover.
            connection.request(request.method, request.path, body, {**kept, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            named = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if request.method == "HEAD" and (length := answer.getheader("Content-Length")) is not None:
                named["Content-Length"] = length
            return answer.status, named, content
        finally:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that are kept, and bodies of either form."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        raise NotImplementedError

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = lambda self: self.answer()  # noqa: N815  (the server's names)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(parts)

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _is_list(request: Request) -> bool:
    return request.method == "GET" and ("list-type=" in request.path or "prefix=" in request.path)
