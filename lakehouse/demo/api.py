"""The exchange-rate API: `GET /rates?since=YYYY-MM-DD&page=1`, forty rates a page, up to the shop's current day.

`since` is included; without it the rates begin with the shop's first day. Like the real ones it is not always in the
mood: the first attempt at every third page is answered with 429 and `Retry-After`, or with 503, in turn; the next
attempt succeeds. Started as a service; the address of the shop's database comes through standard input.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Mapping
from datetime import date
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from lakehouse.demo.calendar import FIRST_DAY, day_of
from lakehouse.demo.rates import rates
from lakehouse.demo.shop import Shop, stored_shop
from lakehouse.errors import SourceError
from lakehouse.storage import FolderStore

_PAGE_ROWS = 40
_MOODY_PAGE = 3

Answer = tuple[HTTPStatus, Mapping[str, object], Mapping[str, str]]


class RatesServer(ThreadingHTTPServer):
    """Serves the rates of the shop in a database, on a free port of the loopback interface."""

    daemon_threads = True

    def __init__(self, database: SecretStr) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._database = database
        self._lock = threading.Lock()
        self._refused: set[tuple[date, date, int]] = set()
        self._refusals = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def answer(self, path: str, query: Mapping[str, list[str]]) -> Answer:
        """Status, body and headers for a request."""
        if path != "/rates":
            return HTTPStatus.NOT_FOUND, {"error": f"no such path: {path}"}, {}
        try:
            since = date.fromisoformat(query.get("since", [FIRST_DAY.isoformat()])[0])
            page = int(query.get("page", ["1"])[0])
        except ValueError as error:
            return HTTPStatus.BAD_REQUEST, {"error": str(error)}, {}
        if page < 1:
            return HTTPStatus.BAD_REQUEST, {"error": "page must be 1 or more"}, {}
        try:
            found = stored_shop(self._database)
            today = day_of(Shop(self._database, FolderStore(Path())).day) if found is not None else None
        except SourceError:
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the rates are being updated"}, {"Retry-After": "1"}
        if found is None or today is None:
            return HTTPStatus.OK, {"rates": [], "next_page": None}, {}
        return self._moody(since, today, page) or _page(found[0], since, today, page)

    def _moody(self, since: date, today: date, page: int) -> Answer | None:
        attempt = (since, today, page)
        with self._lock:
            if page % _MOODY_PAGE or attempt in self._refused:
                self._refused.discard(attempt)
                return None
            self._refused.add(attempt)
            self._refusals += 1
            if self._refusals % 2:
                return HTTPStatus.TOO_MANY_REQUESTS, {"error": "too many requests"}, {"Retry-After": "0"}
            return HTTPStatus.SERVICE_UNAVAILABLE, {"error": "busy"}, {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RatesServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        status, body, headers = self.server.answer(url.path, parse_qs(url.query))
        payload = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401  (the signature is the standard library's)
        """Requests are not worth a line; what fails is raised and logged."""


def _page(seed: int, since: date, today: date, page: int) -> Answer:
    rows = [
        {"date": rate.date.isoformat(), "currency": rate.currency, "rate_to_eur": str(rate.rate_to_eur)}
        for rate in rates(seed, since, today)
    ]
    start = (page - 1) * _PAGE_ROWS
    more = len(rows) > start + _PAGE_ROWS
    return HTTPStatus.OK, {"rates": rows[start : start + _PAGE_ROWS], "next_page": page + 1 if more else None}, {}


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the port that it listens on")
    file: Path = parser.parse_args().port_file
    server = RatesServer(SecretStr(sys.stdin.readline().strip()))
    fresh = file.with_name(f".{file.name}.new")
    fresh.write_text(str(server.port), encoding="ascii")
    fresh.replace(file)
    server.serve_forever()


if __name__ == "__main__":
    main()
