"""The pages of an answer, one after the other. What is in them does not belong here.

Load options: `pagination`, how an API says what comes next:

- `numbered` (if nothing is stated): `page=1` is asked for first, then the page that the field `next_page` names;
- `page`: `page=1`, 2, 3, until a page is empty, is shorter than `page_size`, or as many records were read as the field
  `total` says;
- `cursor`: first without, then with the cursor that the field `next_page` has;
- `next`: the field `next_page` has the next page's address; `link`: the header `Link` has it;
- `none`: there is one page.

`page` names the parameter (default `page`), `next_page` the field (default `next_page`), `first_page` is the number of
the first page (default 1), `max_pages` how many there are at most (default 10,000).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import httpx

from lakehouse.errors import SourceChanged
from lakehouse.sources.http_client import Answer, Client
from lakehouse.sources.http_fields import dig
from lakehouse.sources.options import Options

OPTIONS = {"pagination", "page", "next_page", "first_page", "page_size", "total", "max_pages"}
_KINDS = ("numbered", "page", "cursor", "link", "next", "none")
_MAX_PAGES = 10_000

_Request = tuple[str | httpx.URL, dict[str, str]]


class Pages:
    """How the pages of one API follow each other."""

    def __init__(self, options: Options) -> None:
        self._path = options.text("path")
        self._kind = options.choice("pagination", "numbered", _KINDS)
        self._param = options.text("page", "page")
        self._next = options.text("next_page", "next_page")
        self._first = int(options.number("first_page", 1))
        self._size = int(options.number("page_size", 0))
        self._total = options.optional("total")
        self._most = int(options.number("max_pages", _MAX_PAGES))

    def walk(
        self, client: Client, params: Mapping[str, str], records_of: Callable[[object], list[object]]
    ) -> Iterator[tuple[Answer, list[object]]]:
        """Each answer with its records. Raises SourceChanged for pages that do not end."""
        numbers = self._kind in {"numbered", "page"}
        request: _Request | None = (self._path, {**params, **({self._param: str(self._first)} if numbers else {})})
        asked, read, before = set[tuple[str, ...]](), 0, list[object]()
        while request is not None:
            known = (str(request[0]), *map(str, sorted(request[1].items())))
            if known in asked:
                raise self._endless(client, f"the page that it began with or came to before, after {len(asked)} pages")
            if len(asked) >= self._most:
                raise self._endless(client, f"more than {self._most} pages (`max_pages`)")
            asked.add(known)
            answer = client.get(*request)
            records = records_of(answer.value)
            if self._kind == "page" and records and records == before:
                raise self._endless(client, f"the same records on page {len(asked)} as on the one before")
            yield answer, records
            read, before = read + len(records), records
            request = self._following(client, request, answer, len(records), read)

    def _following(self, client: Client, request: _Request, answer: Answer, count: int, read: int) -> _Request | None:
        path, params = request
        if self._kind == "none":
            return None
        if self._kind == "page":
            total = dig(answer.value, self._total) if self._total else None
            last = not count or count < self._size or (total is not None and read >= _number(client, total))
            return None if last else (path, {**params, self._param: str(int(params[self._param]) + 1)})
        found = answer.link if self._kind == "link" else dig(answer.value, self._next)
        if found is None or found in ("", False):
            return None
        if self._kind in {"numbered", "cursor"}:
            return path, {**params, self._param: str(found)}
        url = answer.url.join(str(found))
        if not client.is_own(url):
            raise SourceChanged(
                f"{client}: the next page of {self._path} lies elsewhere",
                expected="an address of the same host",
                found=url.host,
                remedy="Mend `base_url` of the source; what proves who we are is not shown to others.",
            )
        return url, {}

    def _endless(self, client: Client, found: str) -> SourceChanged:
        return SourceChanged(
            f"{client}: the pages of {self._path} do not end",
            expected="a last one",
            found=found,
            remedy="Mend `pagination`, `page` and `next_page` in the contract's load, or the API.",
        )


def _number(client: Client, total: object) -> int:
    try:
        return int(str(total))
    except ValueError:
        raise SourceChanged(
            f"{client}: `total` is no number", found=repr(total)[:40], remedy="Mend `total` in the contract's load."
        ) from None
