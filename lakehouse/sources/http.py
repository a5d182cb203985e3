"""Rows from an HTTP API that answers pages of JSON records and serves whole days only.

Load options: `path`; `records` (the field with the list, dotted where nested; without it the answer is the list);
`since` (the parameter that asks for days from one on) and `watermark` (the field of a record with its day); `page`
(the parameter of the page number, default `page`); `next_page` (the field with the next one, default `next_page`,
absent or null on the last page); `closed: day`, the only promise known: a day that is served is complete, so the next
read asks for the day after the latest one seen, and nothing is lost or read twice. The position is `{"watermark":
"<latest day>"}`. An increment is held in memory, for its position must be known before its first row is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from lakehouse.errors import SourceChanged, SourceError
from lakehouse.services.endpoints import http_url
from lakehouse.settings import HttpSource, Settings
from lakehouse.sources.http_client import BUDGET, Client
from lakehouse.sources.json_lines import objects
from lakehouse.sources.options import Options
from lakehouse.sources.reader import Chunk, Extract, SourceColumn
from lakehouse.tables import Position, Table

_KNOWN = {"path", "records", "since", "watermark", "page", "next_page", "closed"}
_MAX_PAGES = 10_000
_ASKING = timedelta(seconds=10)


class HttpReader:
    """Reads one list of records from an API."""

    def __init__(self, settings: Settings, source: HttpSource, table: Table) -> None:
        options = Options.of(table, known=_KNOWN)
        self._settings, self._source, self._table = settings, source, table
        self._name = options.policy.source
        self._path = options.text("path")
        self._records = options.optional("records")
        self._since = options.text("since")
        self._watermark = options.text("watermark")
        self._page = options.text("page", "page")
        self._next = options.text("next_page", "next_page")
        if options.text("closed", "day") != "day":
            raise options.wrong("closed", expected="day", remedy="Only APIs that serve whole days are read yet.")

    def read(self, since: Position | None) -> Extract | None:
        """The records of the days after `since`; None if there are none yet.

        Raises SourceUnreachable, SourceRefused, and SourceChanged for a field that is missing.
        """
        last = self._last(since)
        params = self._params(last)
        with self._client() as client:
            pages = list(self._pages(client, params))
            days = [self._day(client, record) for page in pages for record in page if isinstance(record, dict)]
            if last is not None and days and min(days) <= last:
                raise SourceChanged(
                    f"{client} answers records of {min(days)}, which it was not asked for",
                    expected=f"days from {params[self._since]} on, by the parameter {self._since!r}",
                    remedy=f"Mend `since` in {self._table.file}, or the API.",
                )
            self._require_columns(client, pages)
        if not any(pages):
            return None
        latest = max(days, default=last)
        if latest is None:
            raise SourceChanged(
                f"source {self._name!r}: no record of {self._path} is a JSON object",
                remedy="Mend `records` in the contract's load.",
            )
        return Extract(map(self._chunk, pages), {"watermark": latest.isoformat()}, sum(map(len, pages)))

    def pending(self, since: Position | None) -> bool:
        """Whether the API serves a record of a day after `since`: as many pages are asked for as it takes to meet one.

        That is nearly always one page, for an API can only be asked by reading; there are few attempts, as the next
        time to ask is soon. Raises SourceUnreachable, SourceRefused, SourceChanged.
        """
        with self._client(budget=_ASKING) as client:
            return any(self._pages(client, self._params(self._last(since))))

    def columns(self) -> tuple[SourceColumn, ...]:
        """The fields of the first page's records."""
        with self._client() as client:
            page = next(self._pages(client, {}))
        rows = objects(((record, "") for record in page), None).rows
        return tuple(SourceColumn(name, "JSON", nullable=True) for name in rows.column_names)

    def _params(self, last: date | None) -> dict[str, str]:
        return {} if last is None else {self._since: (last + timedelta(days=1)).isoformat()}

    def _client(self, budget: timedelta = BUDGET) -> Client:
        token = self._source.token
        base = http_url(self._settings, self._source.base_url)
        return Client(self._name, base, token.get_secret_value() if token is not None else None, budget)

    def _pages(self, client: Client, params: dict[str, str]) -> Iterator[list[object]]:
        page, asked = "1", set[str]()
        while page not in asked and len(asked) < _MAX_PAGES:
            asked.add(page)
            answer = client.get(self._path, {**params, self._page: page})
            yield self._list(client, answer)
            following = answer.get(self._next) if isinstance(answer, dict) else None
            if following is None:
                return
            page = str(following)
        raise SourceChanged(
            f"{client}: the pages of {self._path} do not end",
            expected=f"{self._next!r} null on the last page",
            found=f"page {page} after {len(asked)} pages",
            remedy="Mend `page` and `next_page` in the contract's load, or the API.",
        )

    def _list(self, client: Client, answer: object) -> list[object]:
        found = answer
        for name in self._records.split(".") if self._records else ():
            found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, list):
            return found
        fields = ", ".join(answer) if isinstance(answer, dict) else type(answer).__name__
        raise SourceChanged(
            f"{client}: {self._path} has no list of records",
            expected=f"a list in {self._records!r}" if self._records else "a list",
            found=fields,
            remedy=f"Mend `records` in {self._table.file}.",
        )

    def _day(self, client: Client, record: dict[str, object]) -> date:
        value = record.get(self._watermark)
        try:
            return date.fromisoformat(str(value)[:10])
        except ValueError:
            raise SourceChanged(
                f"{client}: a record of {self._path} has no day in {self._watermark!r}",
                expected="an ISO date",
                found="nothing" if value is None else repr(str(value)[:40]),
                remedy=f"Mend `watermark` in {self._table.file}, or the API.",
            ) from None

    def _require_columns(self, client: Client, pages: list[list[object]]) -> None:
        """A field that no record has is a change of the API; one that some lack is theirs, and the door's business."""
        fields = {name for page in pages for record in page if isinstance(record, dict) for name in record}
        missing = [column.name for column in self._table.source_columns if column.name not in fields]
        if fields and missing:
            raise SourceChanged(
                f"{client}: no record of {self._path} has {', '.join(map(repr, missing))}",
                found=", ".join(sorted(fields)),
                remedy=f"Mend {self._table.file}, or the API.",
            )

    def _chunk(self, page: list[object]) -> Chunk:
        # Coordinates are the day and not the page: pages shift as days are added.
        place = f"{self._name}:{self._path}"
        records = ((r, f"{place}#{r[self._watermark]}" if isinstance(r, dict) else place) for r in page)
        return objects(records, [column.name for column in self._table.source_columns])

    def _last(self, since: Position | None) -> date | None:
        if since is None:
            return None
        try:
            return date.fromisoformat(str(since["watermark"]))
        except (KeyError, ValueError):
            raise SourceError(
                f"the stored position of {self._table.name} is not one of days",
                expected='{"watermark": "<ISO date>"}',
                found=repr(since)[:200],
                remedy="The table was loaded from another kind of source before: drop it, or restore its contract.",
            ) from None
