"""A client of Toxiproxy's API: proxies in front of servers, and what is done to their connections.

https://github.com/Shopify/toxiproxy#http-api. Which faults a test wants does not belong here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Literal, Self

import httpx

from lakehouse.errors import ServiceError

Stream = Literal["upstream", "downstream"]
_SECONDS = 10.0


class Toxiproxy:
    """One Toxiproxy on loopback. A context manager: at its end every proxy that it made is gone."""

    def __init__(self, port: int) -> None:
        self._api = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_SECONDS, trust_env=False)
        self._made: dict[str, dict[str, object]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the proxies that were made here, and end."""
        for name in self._made:
            self._ask("DELETE", f"/proxies/{name}")
        self._made.clear()
        self._api.close()

    def proxy(self, name: str, upstream: str) -> int:
        """A loopback port whose connections lead to `upstream` (`host:port`). Raises ServiceError for a used name."""
        body = {"name": name, "listen": "127.0.0.1:0", "upstream": upstream, "enabled": True}
        made = self._ask("POST", "/proxies", body)
        self._made[name] = {**body, "listen": made["listen"]}
        return int(made["listen"].rpartition(":")[2])

    def add(
        self, proxy: str, toxic: str, kind: str, *, stream: Stream = "downstream", share: float = 1.0, **attributes: int
    ) -> None:
        """Do to a proxy's connections what a toxic of this kind does; `share` of them, 0 to 1.

        Kinds and attributes are Toxiproxy's: latency (latency, jitter: ms), timeout (timeout: ms), limit_data (bytes),
        reset_peer (timeout: ms), bandwidth (rate: KB/s), slow_close (delay: ms), slicer. A response is lost, after the
        server acted, by `limit_data` of a few bytes downstream; with 0 bytes the request does not arrive either.
        """
        body = {"name": toxic, "type": kind, "stream": stream, "toxicity": share, "attributes": attributes}
        self._ask("POST", f"/proxies/{proxy}/toxics", body)

    def remove(self, proxy: str, toxic: str) -> None:
        """Take a toxic away; open connections go on. Raises ServiceError when it is not there.

        Toxiproxy 2.5.0 never answers this while a latency holds data for a client that has left: `reset` does.
        """
        self._ask("DELETE", f"/proxies/{proxy}/toxics/{toxic}")

    def disable(self, proxy: str) -> None:
        """Cut the connections and refuse new ones, until `enable`."""
        self._ask("POST", f"/proxies/{proxy}", {"enabled": False})

    def enable(self, proxy: str) -> None:
        """Take connections again, on the same port."""
        self._ask("POST", f"/proxies/{proxy}", {"enabled": True})

    def reset(self) -> None:
        """Every proxy of ours as it was made, on the same port: enabled, without toxics, its connections cut."""
        for name, body in self._made.items():
            self._ask("DELETE", f"/proxies/{name}")
            self._ask("POST", "/proxies", body)

    def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  (JSON)
        try:
            answer = self._api.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise ServiceError(
                "Toxiproxy does not answer", found=type(error).__name__, remedy="Start it, and try again."
            ) from error
        if answer.is_error:
            raise ServiceError(
                f"Toxiproxy refuses {method} {path}", found=answer.text.strip(), remedy="Mend the request."
            )
        return answer.json() if answer.content else None
