"""Resources of dlt, loaded through our door: dlt's state is the position, and a real API answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from assets_tests.conftest import IN_CI, ROOT
from assets_tests.ingest.payments import QUARANTINE, balanced, rows
from lakehouse.errors import SettingsError, SourceError, SourceUnreachable
from lakehouse.iceberg import Lake
from lakehouse.ingest import load
from lakehouse.settings import OwnSource, Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.tables import LoadPolicy, Table

# dlt is locked with all else that the tests need: in CI its absence is a failure.
pytestmark = [
    pytest.mark.skipif(find_spec("dlt") is None and not IN_CI, reason="dlt is not installed: run `make` again"),
    # Of the libraries that dlt asks with, one leaves a socket that was refused to the garbage collector.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]
MakeTable = Callable[..., Table]
KIND = "lakehouse.sources.dlt_resource:DltReader"


class Desk(ThreadingHTTPServer):
    """A help desk's API: tickets by time of change, two a page."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.tickets: list[dict[str, object]] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: Desk

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        known = self.headers["Authorization"] == "Bearer hush"
        since, page = query.get("since", ""), int(query.get("page", 0))
        fitting = [one for one in self.server.tickets if str(one["updated_at"]) >= since]
        more = f"{self.server.url}/tickets?since={since}&page={page + 1}" if len(fitting) > 2 * page + 2 else None
        body = json.dumps({"tickets": fitting[2 * page : 2 * page + 2], "next": more}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def serving() -> Iterator[Desk]:
    with Desk() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def desk() -> Iterator[Desk]:
    with serving() as server:
        yield server


@pytest.fixture
def using(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Settings]:
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    # dlt looks for settings and secrets of its own there.
    monkeypatch.chdir(tmp_path)
    # Its own retries would take minutes.
    monkeypatch.setenv("RUNTIME__REQUEST_MAX_ATTEMPTS", "1")

    def make(url: str, token: str = "hush", function: str = "dlt_tickets:tickets") -> Settings:  # noqa: S107
        options = {"function": function, "arguments": {"base_url": url}}
        source = OwnSource(kind=KIND, options=options, secrets={"token": SecretStr(token)})
        return settings.model_copy(update={"sources": {"desk": source}})

    return make


@pytest.fixture
def tickets(make_table: MakeTable) -> Table:
    table = make_table({"id": "long", "updated_at": "timestamptz", "tags": "string"}, required=["id"])
    return replace(table, load=LoadPolicy("desk", reject_limit=0.5))


def ticket(number: object, day: int, **more: object) -> dict[str, object]:
    return {"id": number, "updated_at": f"2026-01-{day:02}T00:00:00Z", **more}


def test_what_dlt_extracts_comes_once_and_its_state_is_the_position(
    desk: Desk, using: Callable[..., Settings], lake: Lake, tickets: Table
) -> None:
    desk.tickets = [ticket(1, 2, tags=["a"]), ticket(2, 3, price=1.10), ticket("x", 3)]
    first = load(using(desk.url), lake, tickets, run_id="1")
    assert (first.rows_read, first.rows_published, first.rows_quarantined, balanced(first)) == (3, 2, 1, True)
    assert [json.loads(str(row["payload"]))["id"] for row in rows(lake, QUARANTINE)] == ["x"]
    desk.tickets += [ticket(3, 3), ticket(4, 5)]
    asked = len(desk.asked)
    second = load(using(desk.url), lake, tickets, run_id="2")
    assert "since=2026-01-03" in desk.asked[asked]
    # Tickets of the day that dlt has seen already it leaves out by its own memory of them, which is in the position.
    assert second.rows_published == 2
    assert load(using(desk.url), lake, tickets, run_id="3").commit is None
    stored = sorted((row["id"], row["tags"], row["_extra"], row["_source"]) for row in rows(lake, tickets.name))
    assert stored == [
        (1, '["a"]', None, "desk"),
        (2, None, '{"price":"1.1"}', "desk"),
        (3, None, None, "desk"),
        (4, None, None, "desk"),
    ]


def test_only_the_first_row_is_asked_for_to_know_that_there_is_one(
    desk: Desk, using: Callable[..., Settings], tickets: Table
) -> None:
    desk.tickets = [ticket(number, 2) for number in range(9)]
    reader: SourceReader = open_source(using(desk.url), tickets)
    assert reader.pending(None)
    assert len(desk.asked) < 5
    extract = reader.read(None)
    assert extract is not None
    # Nobody reads on: the file that the rows wait in is closed all the same.
    del extract
    desk.tickets = []
    assert not reader.pending(None)


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"token": "wrong"}, SourceError, "dlt cannot extract.*401"),
        ({"url": "http://127.0.0.1:1"}, SourceUnreachable, "dlt cannot extract"),
        ({"function": "dlt_tickets:nothing"}, SettingsError, "names no dlt resource.*nothing"),
        ({"function": "nowhere"}, SettingsError, "names no dlt resource"),
    ],
    ids=["refused", "unreachable", "no function", "no module"],
)
def test_what_goes_wrong_is_said_in_words(
    using: Callable[..., Settings], tickets: Table, wrong: dict[str, str], kind: type[Exception], said: str
) -> None:
    with serving() as desk, pytest.raises(kind, match=said):
        open_source(using(**{"url": desk.url, **wrong}), tickets).read(None)
