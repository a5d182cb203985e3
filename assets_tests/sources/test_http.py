"""HTTP APIs, against a real server on loopback that pages, stalls, refuses and breaks off as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from lakehouse.errors import ContractError, SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import Extract, SourceReader, open_source
from lakehouse.tables import Table

RATES = {"date": "date", "currency": "string", "rate_to_eur": "decimal(12, 6)"}
OPTIONS = {"path": "/rates", "records": "rates", "since": "since", "watermark": "date"}


@dataclass
class Api:
    """What the server answers. `failures` come first, one a request: a status, or None to break off in the body."""

    records: list[object] = field(default_factory=list)
    failures: list[tuple[int | None, dict[str, str]]] = field(default_factory=list)
    requests: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    page_size: int = 2
    answer: object | None = None
    body: bytes | None = None
    port: int = 0

    def page(self, query: dict[str, str]) -> object:
        if self.answer is not None:
            return self.answer
        since, page = query.get("since", ""), int(query.get("page", "1"))
        found = [one for one in self.records if not isinstance(one, dict) or one.get("date", since) >= since]
        first = (page - 1) * self.page_size
        more = page + 1 if first + self.page_size < len(found) else None
        return {"rates": found[first : first + self.page_size], "next_page": more}


@pytest.fixture
def api() -> Iterator[Api]:
    state = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        state: ClassVar[Api]

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            state.requests.append(query)
            state.tokens.append(self.headers.get("authorization"))
            status, headers = state.failures.pop(0) if state.failures else (200, {})
            body = state.body if state.body is not None else json.dumps(state.page(query)).encode()
            if parts.path != "/rates":
                status = 404
            self.send_response(status or 200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body) + (100 if status is None else 0)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = status is None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def reader(
    api: Api, make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> Callable[..., SourceReader]:
    def make(columns: dict[str, str] | None = None, token: str | None = None, **options: object) -> SourceReader:
        source = {"kind": "http", "base_url": f"http://127.0.0.1:{api.port}", "token": token}
        return open_source(make_settings(rates=source), make_table("rates", {**OPTIONS, **options}, columns or RATES))

    return make


def rate(day: str, currency: str = "USD", value: object = "0.9187") -> dict[str, object]:
    return {"date": day, "currency": currency, "rate_to_eur": value}


def rows_of(extract: Extract | None) -> list[dict[str, object]]:
    assert extract is not None
    return [row for chunk in extract.chunks for row in chunk.rows.to_pylist()]


def test_every_page_is_read_and_the_position_is_the_latest_day(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.records = [
        rate("2026-01-02"),
        rate("2026-01-01"),
        rate("2026-01-01", "GBP"),
        rate("2026-01-02", "GBP"),
        rate("2026-01-02", "SEK"),
    ]
    extract = reader().read(None)
    assert extract is not None
    assert extract.reached == {"watermark": "2026-01-02"}
    assert extract.expected_rows == 5
    assert rows_of(extract) == api.records
    assert api.requests == [{"page": "1"}, {"page": "2"}, {"page": "3"}]


def test_the_next_read_begins_with_the_day_after(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.records = [rate("2026-01-31")]
    first = reader().read(None)
    assert first is not None
    assert reader().read(first.reached) is None
    api.records.append(rate("2026-02-01"))
    second = reader().read(first.reached)
    assert [row["date"] for row in rows_of(second)] == ["2026-02-01"]
    assert [query.get("since") for query in api.requests] == [None, "2026-02-01", "2026-02-01"]


def test_numbers_keep_their_digits_and_rows_their_coordinates(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.body = b'{"rates": [{"date": "2026-01-01", "currency": null, "rate_to_eur": 0.91870}, 7]}'
    extract = reader().read(None)
    assert extract is not None
    (chunk,) = extract.chunks
    assert chunk.rows.to_pylist() == [{"date": "2026-01-01", "currency": None, "rate_to_eur": "0.91870"}]
    assert chunk.coordinate(0) == "rates:/rates#2026-01-01"
    assert [(record.payload, record.error) for record in chunk.broken] == [(b"7", "not a JSON object")]
    assert extract.expected_rows == 2


@pytest.mark.parametrize(
    "failure",
    [(429, {"Retry-After": "0"}), (429, {}), (503, {}), (500, {}), (408, {}), (None, {})],
    ids=["429 with Retry-After", "429", "503", "500", "408", "broken off"],
)
def test_what_may_pass_is_tried_again(
    api: Api, reader: Callable[..., SourceReader], failure: tuple[int | None, dict[str, str]]
) -> None:
    api.records = [rate("2026-01-01")]
    api.failures = [failure]
    assert len(rows_of(reader().read(None))) == 1
    assert len(api.requests) == 2


def test_a_pause_that_is_asked_for_longer_than_the_budget_is_unreachable_at_once(
    api: Api, reader: Callable[..., SourceReader]
) -> None:
    api.failures = [(429, {"Retry-After": "86400"})]
    with pytest.raises(SourceUnreachable, match="status 429"):
        reader().read(None)
    assert len(api.requests) == 1


@pytest.mark.parametrize(
    ("status", "error"), [(401, SourceRefused), (403, SourceRefused), (404, SourceChanged), (400, SourceError)]
)
def test_what_will_not_pass_is_not_tried_again(
    api: Api, reader: Callable[..., SourceReader], status: int, error: type[SourceError]
) -> None:
    api.failures = [(status, {})]
    with pytest.raises(error, match=f"status {status}") as caught:
        reader(token="hunter2").read(None)  # noqa: S106  (it must not be told)
    assert len(api.requests) == 1
    assert "hunter2" not in repr(caught.value)


def test_the_token_is_sent(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.records = [rate("2026-01-01")]
    reader(token="hunter2").read(None)  # noqa: S106  (a test's own)
    assert api.tokens == ["Bearer hunter2"]


def test_nobody_there_is_unreachable(make_settings: Callable[..., Settings], make_table: Callable[..., Table]) -> None:
    settings = make_settings(rates={"kind": "http", "base_url": "http://user:hunter2@127.0.0.1:1"})
    with pytest.raises(SourceUnreachable, match=r"HTTP API at 127\.0\.0\.1.*ConnectError") as caught:
        open_source(settings, make_table("rates", OPTIONS, RATES)).read(None)
    assert "hunter2" not in repr(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"rate": []}, "list in 'rates'; found rate"),
        ({"rates": {"a": 1}}, "list in 'rates'"),
        (["x"], "found list"),
        ({"rates": [{"day": "2026-01-01"}]}, "no day in 'date'.*found nothing"),
        ({"rates": [{"date": "soon"}]}, "no day in 'date'.*found 'soon'"),
        ({"rates": [{"date": "2026-01-01", "currency": "USD"}]}, "no record of /rates has 'rate_to_eur'"),
        ({"rates": [1, 2]}, "no record of /rates is a JSON object"),
        ({"rates": [{"date": "2026-01-01", "currency": "", "rate_to_eur": ""}], "next_page": 1}, "do not end"),
    ],
)
def test_an_answer_of_another_shape_is_named(
    api: Api, reader: Callable[..., SourceReader], answer: object, said: str
) -> None:
    api.answer = answer
    with pytest.raises(SourceChanged, match=said):
        reader().read(None)


def test_an_answer_that_is_not_json(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.body = b"<html>welcome</html>"
    with pytest.raises(SourceChanged, match="not JSON"):
        reader().read(None)


def test_an_api_that_ignores_since_is_not_read_twice(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.answer = {"rates": [rate("2026-01-01")]}
    with pytest.raises(SourceChanged, match=r"2026-01-01, which it was not asked for.*from 2026-01-03 on"):
        reader().read({"watermark": "2026-01-02"})


def test_other_names_and_nested_records(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.answer = {"data": {"list": [rate("2026-01-01")]}, "following": None}
    options = {"records": "data.list", "page": "p", "next_page": "following", "closed": "day"}
    assert len(rows_of(reader(**options).read(None))) == 1
    assert api.requests == [{"p": "1"}]


def test_an_api_without_an_envelope(
    api: Api, make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    api.answer = [rate("2026-01-01")]
    settings = make_settings(rates={"kind": "http", "base_url": f"http://127.0.0.1:{api.port}/"})
    options = {name: value for name, value in OPTIONS.items() if name != "records"}
    assert len(rows_of(open_source(settings, make_table("rates", options, RATES)).read(None))) == 1


def test_a_served_day_is_pending_until_it_was_read(api: Api, reader: Callable[..., SourceReader]) -> None:
    assert not reader().pending(None)
    api.records = [rate(f"2026-01-0{day}") for day in range(1, 8)]
    api.requests.clear()
    assert reader().pending(None)
    assert reader().pending({"watermark": "2026-01-06"})
    assert not reader().pending({"watermark": "2026-01-07"})
    # One page answers, of however many there are.
    assert api.requests == [{"page": "1"}, *({"since": f"2026-01-0{day}", "page": "1"} for day in (7, 8))]


def test_an_empty_page_before_others_is_no_answer(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.page = lambda query: {  # type: ignore[method-assign]  # a server of another mind
        "rates": [rate("2026-01-01")] if query["page"] == "2" else [],
        "next_page": {"1": 2}.get(query["page"]),
    }
    assert reader().pending(None)


def test_who_is_asked_often_is_asked_for_seconds_only(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.failures = [(429, {"Retry-After": "60"})]
    with pytest.raises(SourceUnreachable, match="status 429"):
        reader().pending(None)


def test_columns_are_sampled(api: Api, reader: Callable[..., SourceReader]) -> None:
    api.records = [rate("2026-01-01")]
    assert [column.name for column in reader().columns()] == ["date", "currency", "rate_to_eur"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"closed": "hour"}, "'closed'.*one of day, none"),
        ({"watermark": None}, "'watermark'"),
        ({"pages": "p"}, "'pages'"),
        ({"path": ""}, "'path'"),
    ],
)
def test_wrong_options_are_named(reader: Callable[..., SourceReader], options: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        reader(**options)


def test_a_position_of_another_source_is_refused(reader: Callable[..., SourceReader]) -> None:
    with pytest.raises(SourceError, match="not one of days"):
        reader().read({"files": {}})


def test_a_service_of_the_project_that_does_not_run_says_how_to_start_it(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    settings = make_settings(rates={"kind": "http", "base_url": "embedded://rates"})
    with pytest.raises(SourceUnreachable, match="lakehouse service up"):
        open_source(settings, make_table("rates", OPTIONS, RATES)).read(None)
