"""Rows from an HTTP API that answers pages of JSON records.

Load options: `path`; `records` (the field with the list, dotted where nested; without it the answer is the list);
`params` (of the query, the same each time); `columns` (paths of those that stand elsewhere than at the top, as
`{amount: $.money.amount}`); `ignore` (fields that nobody wants to keep). How pages follow each other is
`http_pages.py`, how the API is asked for what is new `http_watermark.py`, one request `http_client.py`. The position of
an increment must be known before its first row is written, so all of its answers are asked for first: they wait in
memory, and on disk where they are large.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from typing import IO, cast

import pyarrow as pa

from lakehouse.errors import SourceChanged
from lakehouse.services.endpoints import http_url
from lakehouse.settings import HttpSource, Settings
from lakehouse.sources import http_pages, http_watermark
from lakehouse.sources.http_client import BUDGET, Client
from lakehouse.sources.http_fields import Columns, dig
from lakehouse.sources.http_pages import Pages
from lakehouse.sources.http_watermark import Watermark
from lakehouse.sources.json_lines import objects
from lakehouse.sources.json_text import parse
from lakehouse.sources.options import Options
from lakehouse.sources.reader import Chunk, Extract, SourceColumn
from lakehouse.tables import Position, Table, Window

_KNOWN = {"path", "records", "params", "columns", "ignore", *http_pages.OPTIONS, *http_watermark.OPTIONS}
_ASKING = timedelta(seconds=10)
_IN_MEMORY = 32 * 1024 * 1024

_Wanted = Callable[[object], bool]


class HttpReader:
    """Reads one list of records from an API."""

    def __init__(self, settings: Settings, source: HttpSource, table: Table) -> None:
        options = Options.of(table, known=_KNOWN)
        self._settings, self._source, self._table = settings, source, table
        self._name = options.policy.source
        self._path = options.text("path")
        self._records = options.optional("records")
        self._ignore = options.names("ignore")
        self._columns, self._pages, self._watermark = Columns(options), Pages(options), Watermark(options)
        params = options.policy.options.get("params", {})
        if not isinstance(params, dict) or not all(isinstance(value, str | int) for value in params.values()):
            raise options.wrong("params", expected="texts by name", found=repr(params), remedy="Mend them.")
        self._params = {str(name): str(value) for name, value in params.items()}

    def read(self, since: Position | None) -> Extract | None:
        """The records after `since`; None if there are none yet.

        Raises SourceUnreachable, SourceRefused, and SourceChanged for a field that is missing.
        """
        is_new = partial(self._watermark.is_new, since=since)
        return self._extract(self._watermark.params(since), is_new, since)

    def between(self, window: Window) -> Extract | None:
        """The records of these days; None if there are none. An API that has no `until` is asked for all from there."""
        is_within = partial(self._watermark.is_within, window=window)
        return self._extract(self._watermark.window(window), is_within, None)

    def pending(self, since: Position | None) -> bool:
        """Whether the API serves a record after `since`: as many pages are asked for as it takes to meet one.

        That is nearly always one page, for an API can only be asked by reading; there are few attempts, as the next
        time to ask is soon. Raises SourceUnreachable, SourceRefused, SourceChanged.
        """
        params = {**self._params, **self._watermark.params(since)}
        with self._client(budget=_ASKING) as client:
            pages = self._pages.walk(client, params, self._list)
            return any(self._watermark.is_new(record, since) for _, records in pages for record in records)

    def columns(self) -> tuple[SourceColumn, ...]:
        """The fields of the first page's records, with the contract's columns that stand elsewhere in them."""
        with self._client() as client:
            _, page = next(self._pages.walk(client, self._params, self._list))
        rows = objects(((record, "") for record in page), None, moved=self._columns.of).rows
        return tuple(SourceColumn(name, "JSON", nullable=True) for name in rows.column_names)

    def _extract(self, params: dict[str, str], wanted: _Wanted, since: Position | None) -> Extract | None:
        count, fields, reached = 0, set[str](), since
        with ExitStack() as stack, self._client() as client:
            answers = cast("IO[bytes]", stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)))
            for answer, page in self._pages.walk(client, {**self._params, **params}, self._list):
                new = [record for record in page if wanted(record)]
                for record in new:
                    if isinstance(record, dict):
                        reached = self._watermark.moved(reached, record)
                    if isinstance(named := self._columns.of(record), dict):
                        fields |= named.keys()
                count += len(new)
                answers.write(len(answer.raw).to_bytes(8, "big") + answer.raw)
            self._require_columns(client, fields)
            if not count:
                return None
            if reached is None:
                raise SourceChanged(
                    f"source {self._name!r}: no record of {self._path} is a JSON object",
                    remedy="Mend `records` in the contract's load.",
                )
            chunks = self._chunks(stack.pop_all(), answers, wanted)
            # The first step enters the generator: from then on it closes the file, even if nobody reads on.
            next(chunks)
        return Extract(chunks, reached, count, retries=lambda: client.retries)

    def _chunks(self, owned: ExitStack, answers: IO[bytes], wanted: _Wanted) -> Iterator[Chunk]:
        """The records of the answers that were written down, a chunk a page; nothing first."""
        names = [column.name for column in self._table.source_columns]
        with owned:
            yield Chunk(pa.table({}), self._name)
            answers.seek(0)
            while size := answers.read(8):
                page = self._list(parse(answers.read(int.from_bytes(size, "big")).decode()))
                records = ((record, self._place(record)) for record in page if wanted(record))
                yield objects(records, names, self._ignore, self._columns.of)

    def _place(self, record: object) -> str:
        # Coordinates are the watermark and not the page: pages shift as records are added.
        place = f"{self._name}:{self._path}"
        return f"{place}#{dig(record, self._watermark.field)}" if isinstance(record, dict) else place

    def _client(self, budget: timedelta = BUDGET) -> Client:
        return Client(self._name, http_url(self._settings, self._source.base_url), self._source, budget)

    def _list(self, answer: object) -> list[object]:
        found = dig(answer, self._records) if self._records else answer
        if isinstance(found, list):
            return found
        fields = ", ".join(answer) if isinstance(answer, dict) else type(answer).__name__
        raise SourceChanged(
            f"source {self._name!r}: {self._path} has no list of records",
            expected=f"a list in {self._records!r}" if self._records else "a list",
            found=fields,
            remedy=f"Mend `records` in {self._table.file}.",
        )

    def _require_columns(self, client: Client, fields: set[str]) -> None:
        """A field that no record has is a change of the API; one that some lack is theirs, and the door's business."""
        missing = [column.name for column in self._table.source_columns if column.name not in fields]
        if fields and missing:
            raise SourceChanged(
                f"{client}: no record of {self._path} has {', '.join(map(repr, missing))}",
                found=", ".join(sorted(fields)),
                remedy=f"Mend {self._table.file}, or the API.",
            )
