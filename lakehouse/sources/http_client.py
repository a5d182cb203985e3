"""One GET, tried again where that may help, and the errors of ours for what it meets. What is asked is `http.py`'s.

What proves who we are is shown to the source's own host only, and stands in no error and no log.
"""

from __future__ import annotations

import logging
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from random import SystemRandom
from typing import Self

import httpx
import stamina

from lakehouse.errors import SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.settings import HttpSource
from lakehouse.sources.json_text import parse

ATTEMPTS = 6
BUDGET = timedelta(minutes=2)
"""How long one GET of a load may take with all its attempts; who asks for a longer pause is unreachable."""
_TIMEOUT = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 20.0
_CHECK = "Check `token`, `user`, `password`, `headers` and `params` of the source in the settings."

AGAIN: Mapping[type[Exception], bool] = {
    httpx.TimeoutException: True,
    httpx.NetworkError: True,
    httpx.ProxyError: True,
    httpx.RemoteProtocolError: True,  # an answer that breaks off, too
    httpx.DecodingError: True,
    httpx.TooManyRedirects: False,
    httpx.UnsupportedProtocol: False,
    httpx.LocalProtocolError: False,
    httpx.InvalidURL: False,
}
"""Whether what the client raises may pass: then it is asked again."""
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_NEVER = {
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
    HTTPStatus.VARIANT_ALSO_NEGOTIATES,
    HTTPStatus.NOT_EXTENDED,
    HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED,
}
_DENIED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}
_RANDOM = SystemRandom()


@dataclass(frozen=True)
class Answer:
    """What a GET answered. `value` is the JSON, numbers as their own digits; `link` the address of the next page.

    `raw` are the bytes that `value` was parsed from.
    """

    value: object
    raw: bytes
    url: httpx.URL
    link: str | None


class _Failed(Exception):
    """One attempt: what is told when it was the last, and whether to try again, or after how many seconds."""

    def __init__(self, told: SourceError, *, again: bool | float) -> None:
        super().__init__(told.what)
        self.told, self.again = told, again


class Client:
    """GETs JSON from one API. `name` is the source's, for errors; `retries` counts what was asked again.

    `budget` is how long one GET may take with all its attempts.
    """

    def __init__(self, name: str, base_url: str, source: HttpSource, budget: timedelta = BUDGET) -> None:
        # Both write whole addresses, in which a key may stand.
        for library in ("httpx", "httpcore"):
            logging.getLogger(library).setLevel(logging.WARNING)
        self.retries = 0
        self._name, self._budget = name, budget
        self._headers, self._params = _proofs(source), {k: v.get_secret_value() for k, v in source.params.items()}
        self._client = httpx.Client(
            base_url=base_url,
            headers={"accept": "application/json", "user-agent": "lakehouse"},
            timeout=min(_TIMEOUT, budget.total_seconds()),
            follow_redirects=True,
            event_hooks={"request": [self._show]},
        )

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def __str__(self) -> str:
        """As errors name it: without anything that a secret may stand in."""
        return f"source {self._name!r} (HTTP API at {self._client.base_url.host})"

    def is_own(self, url: httpx.URL) -> bool:
        """Whether an address is of the source's own scheme, host and port."""
        own = self._client.base_url
        return (url.scheme, url.host, url.port) == (own.scheme, own.host, own.port)

    def get(self, path: str | httpx.URL, params: Mapping[str, str]) -> Answer:
        """The JSON that a GET answers; the parameters are added to those that the address has.

        Tried again: what `AGAIN` says, 408, 425, 429, 5xx and JSON that breaks off; with exponential pauses and full
        jitter, or the pause that Retry-After asks for. Raises SourceUnreachable after that, SourceRefused,
        SourceChanged for 404.
        """
        try:
            backoff = _backoff(time.monotonic() + self._budget.total_seconds())
            for attempt in stamina.retry_context(on=backoff, attempts=ATTEMPTS, timeout=self._budget):
                with attempt:
                    self.retries += attempt.num > 1
                    answer = self._once(path, params)
        except _Failed as failed:
            raise failed.told from None
        return answer

    def _once(self, path: str | httpx.URL, params: Mapping[str, str]) -> Answer:
        shown = path if isinstance(path, str) else path.path
        try:
            request = self._client.build_request("GET", path)
            if params:
                request.url = request.url.copy_merge_params(dict(params))
            response = self._client.send(request)
        except (httpx.RequestError, httpx.InvalidURL) as error:
            told = SourceUnreachable(
                f"{self} does not answer",
                found=type(error).__name__,
                remedy="Check that it runs and that `base_url` is right; then load again.",
            )
            again = next((again for kind, again in AGAIN.items() if isinstance(error, kind)), False)
            raise _Failed(told, again=again) from None
        if not response.is_success:
            told_by_status, again_by_status = self._status(response, shown)
            raise _Failed(told_by_status, again=again_by_status)
        return self._json(response, shown)

    def _show(self, request: httpx.Request) -> None:
        """Prove who we are to our own host; a redirect may lead elsewhere."""
        if self.is_own(request.url):
            request.headers.update(self._headers)
            if self._params:
                request.url = request.url.copy_merge_params(self._params)
        else:
            for name in self._headers:
                request.headers.pop(name, None)

    def _status(self, response: httpx.Response, path: str) -> tuple[SourceError, bool | float]:
        status, found = response.status_code, f"status {response.status_code} for {path}"
        if status in _DENIED:
            return SourceRefused(f"{self} refused access", found=found, remedy=_CHECK), False
        if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            asked = _retry_after(response.headers.get("retry-after"))
            again: bool | float = asked if asked is not None else True
            remedy = "Load again later."
            return SourceUnreachable(f"{self} is not well", found=found, remedy=remedy), status not in _NEVER and again
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            remedy = "Mend `path` in the contract's load."
            return SourceChanged(f"{self} has no {path}", found=found, remedy=remedy), False
        remedy = "Mend the options of the contract's load."
        return SourceError(f"{self} refused the request", found=found, remedy=remedy), False

    def _json(self, response: httpx.Response, path: str) -> Answer:
        raw = response.content
        try:
            value = parse(raw.decode())
        except (ValueError, RecursionError) as error:
            told = SourceChanged(
                f"{self} answered something that is not JSON for {path}",
                found=f"{response.headers.get('content-type', 'no content type')}: {error}",
                remedy="Mend `path` in the contract's load, or the API.",
            )
            # What begins like JSON may have been cut on its way; a page for people will not become another.
            raise _Failed(told, again=raw.lstrip()[:1] in {b"{", b"["}) from None
        return Answer(value, raw, response.url, response.links.get("next", {}).get("url"))


def _proofs(source: HttpSource) -> dict[str, str]:
    """The headers that say who we are."""
    shown = {name.lower(): value.get_secret_value() for name, value in source.headers.items()}
    if source.token is not None:
        shown["authorization"] = f"Bearer {source.token.get_secret_value()}"
    elif source.user is not None:
        password = source.password.get_secret_value() if source.password is not None else ""
        shown["authorization"] = f"Basic {b64encode(f'{source.user}:{password}'.encode()).decode()}"
    return shown


def _backoff(end: float) -> Callable[[Exception], bool | float]:
    """For stamina: whether to try again, and after how long; not if that were after `end`."""
    longest = _FIRST_PAUSE

    def pause(error: Exception) -> bool | float:
        nonlocal longest
        if not isinstance(error, _Failed) or error.again is False:
            return False
        # Full jitter: those whom one failure met do not come back together.
        wait = _RANDOM.uniform(0, longest) if error.again is True else error.again
        longest = min(_LONGEST_PAUSE, longest * 2)
        return wait if time.monotonic() + wait <= end else False

    return pause


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number of them or from a date (RFC 9110, 10.2.3); None if it says neither."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.astimezone(UTC) - datetime.now(UTC)).total_seconds())
