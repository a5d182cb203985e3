"""One request: what is tried again and what is not, and that nothing which proves who we are gets out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from structlog.testing import capture_logs

from assets_tests.sources.served import Reply, Served, served
from lakehouse.errors import SourceChanged, SourceError, SourceUnreachable
from lakehouse.settings import HttpSource
from lakehouse.sources.http_client import AGAIN, Client

SECRET = "hunter2"  # noqa: S105  (a test's own)


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as one:
        yield one


def client(api: Served, budget: float = 30, **proofs: object) -> Client:
    source = HttpSource.model_validate({"base_url": api.url, **proofs})
    return Client("api", api.url, source, timedelta(seconds=budget))


def failing(*replies: Reply) -> Callable[[str, Mapping[str, str]], object]:
    """These first, then an answer."""
    left = list(replies)
    return lambda _path, _query: left.pop(0) if left else {"well": 1}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 520])
def test_a_status_that_may_pass_is_asked_again(api: Served, status: int) -> None:
    api.answer = failing(Reply("", status))
    with client(api) as asking:
        assert asking.get("/x", {}).value == {"well": "1"}
        assert (asking.retries, len(api.asked)) == (1, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422, 501, 505, 511])
def test_a_status_that_will_not_pass_is_not_asked_again(api: Served, status: int) -> None:
    api.answer = failing(Reply("", status))
    with client(api) as asking, pytest.raises(SourceError, match=f"status {status} for /x"):
        asking.get("/x", {})
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("reply", "again"),
    [
        (Reply({"rows": [1, 2, 3]}, cut=4), True),
        (Reply(b'{"rows": [1, 2'), True),
        (Reply(b"not gzip", headers={"content-encoding": "gzip"}), True),
        (Reply(b"<html>sign in</html>", headers={"content-type": "text/html"}), False),
    ],
    ids=["connection ends in the body", "body ends in the JSON", "packed wrongly", "a page for people"],
)
def test_a_body_that_breaks_off_is_asked_for_again(api: Served, reply: Reply, *, again: bool) -> None:
    api.answer = failing(reply)
    with client(api) as asking:
        if again:
            assert asking.get("/x", {}).value == {"well": "1"}
        else:
            with pytest.raises(SourceChanged, match="not JSON for /x"):
                asking.get("/x", {})
    assert len(api.asked) == 1 + again


@pytest.mark.parametrize(("kind", "again"), AGAIN.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_the_library_raises_is_asked_again_or_not(
    api: Served, monkeypatch: pytest.MonkeyPatch, kind: type[Exception], *, again: bool
) -> None:
    failures = [kind("no luck")]
    send = httpx.Client.send

    def raising(self: httpx.Client, request: httpx.Request) -> httpx.Response:
        if failures:
            raise failures.pop()
        return send(self, request)

    monkeypatch.setattr(httpx.Client, "send", raising)
    with client(api) as asking:
        if again:
            assert asking.get("/x", {}).value == []
        else:
            with pytest.raises(SourceUnreachable, match=kind.__name__):
                asking.get("/x", {})
        assert asking.retries == again


def test_the_pause_that_is_asked_for_is_kept(api: Served) -> None:
    began = datetime.now(UTC)
    until = began.replace(microsecond=0) + timedelta(seconds=2)
    api.answer = failing(
        Reply("", 429, {"retry-after": "1"}), Reply("", 503, {"retry-after": format_datetime(until, usegmt=True)})
    )
    with client(api) as asking:
        asking.get("/x", {})
        assert asking.retries == 2
    assert datetime.now(UTC) - began >= timedelta(seconds=1)


def test_all_attempts_together_keep_the_budget(api: Served) -> None:
    api.answer = lambda _path, _query: Reply("", 503, {"retry-after": "1"})
    began = datetime.now(UTC)
    with client(api, budget=2.5) as asking, pytest.raises(SourceUnreachable, match="status 503"):
        asking.get("/x", {})
    assert datetime.now(UTC) - began < timedelta(seconds=2.5)
    assert 2 <= len(api.asked) <= 3


@pytest.mark.parametrize(
    ("proofs", "shown"),
    [
        ({"token": SECRET}, {"authorization": f"Bearer {SECRET}"}),
        ({"user": "me", "password": SECRET}, {"authorization": "Basic bWU6aHVudGVyMg=="}),
        ({"headers": {"X-Api-Key": SECRET}}, {"x-api-key": SECRET}),
        ({"params": {"api_key": SECRET}}, {}),
    ],
    ids=["bearer token", "basic", "header", "query"],
)
def test_who_we_are_is_shown_to_the_api_and_to_nobody_else(
    api: Served, caplog: pytest.LogCaptureFixture, proofs: dict[str, object], shown: dict[str, str]
) -> None:
    query = {"api_key": SECRET} if "params" in proofs else {}
    caplog.set_level(logging.DEBUG)
    with served() as other, client(api, **proofs) as asking, capture_logs() as lines:
        ways = {"/here": "/there", "/away": f"{other.url}/caught"}
        api.answer = lambda path, _: (
            Reply("", 302, {"location": ways[path]}) if path in ways else Reply("", 503 if len(api.asked) == 1 else 200)
        )
        asking.get("/x", {"page": "1"})
        asking.get("/here", {})
        asking.get("/away", {})
        for path, asked, headers in api.asked:
            assert shown.items() <= headers.items()
            assert asked == ({"page": "1"} if path == "/x" else {}) | query
        ((_, asked_elsewhere, headers_elsewhere),) = other.asked
        assert SECRET not in repr(asked_elsewhere)
        assert SECRET not in repr(headers_elsewhere)
        assert "authorization" not in headers_elsewhere
        api.answer = lambda _path, _query: Reply("", 403)
        with pytest.raises(SourceError) as caught:
            asking.get("/x", {})
    assert lines  # the attempt that failed is told
    source = HttpSource.model_validate({"base_url": api.url, **proofs})
    said = f"{caught.value!r} {caught.value.__cause__!r} {lines} {caplog.text} {source!r} {source.model_dump_json()}"
    assert SECRET not in said
    assert "bWU6aHVudGVyMg" not in said
