"""One GET, tried again where that may help, and the errors of ours for what it meets. What is asked is `http.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus
from typing import Self

import httpx
import stamina

from lakehouse.errors import SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.sources.json_lines import parse

ATTEMPTS = 6
BUDGET = timedelta(minutes=2)
"""How long one GET of a load may take with all its attempts; who asks for a longer pause is unreachable."""
_TIMEOUT = 30.0
_BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_DENIED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}


class Client:
    """GETs JSON from one API. `name` is the source's, for errors; `token` is sent as a bearer token.

    `budget` is how long one GET may take with all its attempts.
    """

    def __init__(self, name: str, base_url: str, token: str | None, budget: timedelta = BUDGET) -> None:
        headers = {"accept": "application/json", "user-agent": "lakehouse"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        self._name, self._budget = name, budget
        timeout = min(_TIMEOUT, budget.total_seconds())
        self._client = httpx.Client(base_url=base_url, headers=headers, timeout=timeout, follow_redirects=True)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close its connections."""
        self._client.close()

    def __str__(self) -> str:
        """As errors name it: without anything that a secret may stand in."""
        return f"source {self._name!r} (HTTP API at {self._client.base_url.host})"

    def get(self, path: str, params: Mapping[str, str]) -> object:
        """The JSON that a GET answers, numbers as their own digits (see `json_lines.parse`).

        Tried again: no connection, timeouts, cut answers, 408, 425, 429 and 5xx; with exponential pauses and jitter,
        or the pause that Retry-After asks for. Raises SourceUnreachable after that, SourceRefused, SourceChanged for
        404.
        """
        try:
            pause = partial(_pause, budget=self._budget)
            for attempt in stamina.retry_context(on=pause, attempts=ATTEMPTS, timeout=self._budget, wait_max=20.0):
                with attempt:
                    response = self._client.get(path, params=dict(params)).raise_for_status()
        except httpx.HTTPStatusError as error:
            raise self._status_error(error.response.status_code, path) from None
        except (httpx.RequestError, httpx.InvalidURL) as error:
            raise SourceUnreachable(
                f"{self} does not answer",
                found=type(error).__name__,
                remedy="Check that it runs and that `base_url` is right; then load again.",
            ) from None
        return self._json(response, path)

    def _status_error(self, status: int, path: str) -> SourceError:
        found = f"status {status} for {path}"
        if status in _DENIED:
            return SourceRefused(f"{self} refused access", found=found, remedy="Check `token` of the source.")
        if status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return SourceUnreachable(f"{self} is not well", found=found, remedy="Load again later.")
        if status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            return SourceChanged(f"{self} has no {path}", found=found, remedy="Mend `path` in the contract's load.")
        return SourceError(
            f"{self} refused the request", found=found, remedy="Mend the options of the contract's load."
        )

    def _json(self, response: httpx.Response, path: str) -> object:
        try:
            return parse(response.content.decode())
        except (ValueError, RecursionError) as error:
            raise SourceChanged(
                f"{self} answered something that is not JSON for {path}",
                found=f"{response.headers.get('content-type', 'no content type')}: {error}",
                remedy="Mend `path` in the contract's load, or the API.",
            ) from None


def _pause(error: Exception, budget: timedelta) -> bool | float:
    """Whether to try again, or after how many seconds, for stamina."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        if status not in _BUSY and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return False
        asked = _retry_after(error.response.headers.get("retry-after"))
        if asked is None:
            return True
        return asked if asked <= budget.total_seconds() else False
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


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
