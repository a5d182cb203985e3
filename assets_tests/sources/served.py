"""A real HTTP server on loopback whose answers a test states, and what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

Answering = Callable[[str, Mapping[str, str]], object]


@dataclass
class Reply:
    """An answer that is more than JSON. `cut`: the connection ends before so many bytes of the body are sent."""

    body: object
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0


@dataclass
class Served:
    """`answer` is given path and query; what it returns is sent as JSON. `asked`: path, query, headers of each."""

    answer: Answering = lambda _path, _query: []
    asked: list[tuple[str, dict[str, str], Mapping[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def queries(self) -> list[dict[str, str]]:
        return [query for _, query, _ in self.asked]


@contextmanager
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            state.asked.append((parts.path, query, {name.lower(): value for name, value in self.headers.items()}))
            answer = state.answer(parts.path, query)
            reply = answer if isinstance(answer, Reply) else Reply(answer)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"content-type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - reply.cut])
            self.close_connection = bool(reply.cut)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    # Looked at often, so that a test does not wait for the end.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
