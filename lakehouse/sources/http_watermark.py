"""How an API is asked for what is new: by the field `watermark` of its records and the parameter `since`.

Load options: `watermark`, `since`, `until` (a parameter that asks for records up to one, for windows only), and
`closed`. `day` (if nothing is stated): a day that is served is complete, so the next read asks for the day after the
latest. `none`: more may come of the latest watermark, a moment (ISO 8601) or a number: the next read asks from it on,
that included, and leaves out the records of it that were read. The position is `{"watermark": ...}`, for `none` with
digests of these records as `seen`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from lakehouse.errors import SourceChanged, SourceError
from lakehouse.sources.http_fields import dig
from lakehouse.sources.json_text import dump
from lakehouse.sources.options import Options
from lakehouse.tables import Position, Window

OPTIONS = {"since", "until", "watermark", "closed"}
_MOST_SEEN = 5000

Mark = date | Decimal
"""A day, a moment in UTC (which is a `date` to Python, too) or a number."""


class Watermark:
    """The watermark of one API."""

    def __init__(self, options: Options) -> None:
        self._table, self._source = options.table, options.policy.source
        self._since, self._until = options.text("since"), options.optional("until")
        self.field = options.text("watermark")
        self._days = options.choice("closed", "day", ("day", "none")) == "day"

    def params(self, since: Position | None) -> dict[str, str]:
        """The parameters that ask for what has come after a position."""
        last = self._last(since)
        if last is None or since is None:
            return {}
        return {self._since: (last + timedelta(days=1)).isoformat() if self._days else str(since["watermark"])}  # type: ignore[operator]  # a day

    def window(self, window: Window) -> dict[str, str]:
        """The parameters that ask for these days; APIs differ in whether `until` is included, so a day more."""
        begin, end = (f"{day}" if self._days else f"{day}T00:00:00Z" for day in (window.start, window.end))
        return {self._since: begin, **({self._until: end} if self._until else {})}

    def is_new(self, record: object, since: Position | None) -> bool:
        """Whether a record was not read yet. Raises SourceChanged for one that was not asked for."""
        last = self._last(since)
        if last is None or since is None or not isinstance(record, dict):
            return True
        mark = self.of(record)
        if mark > last if self._days else mark >= last:  # type: ignore[operator]  # both of one kind, see `of`
            return mark != last or _digest(record) not in _seen(since)
        raise SourceChanged(
            f"source {self._source!r} answers records of {mark}, which it was not asked for",
            expected=f"those from {self.params(since)[self._since]} on, by the parameter {self._since!r}",
            remedy=f"Mend `since` in {self._table.file}, or the API.",
        )

    def is_within(self, record: object, window: Window) -> bool:
        """Whether a record is of these days; one without any is."""
        if not isinstance(record, dict):
            return True
        mark = self.of(record)
        if isinstance(mark, Decimal):
            raise SourceError(
                f"{self._table.name} cannot be loaded by days",
                expected=f"days or moments in {self.field!r}",
                found=str(mark),
                remedy="Load it without a range of days.",
            )
        return window.start <= (mark.date() if isinstance(mark, datetime) else mark) < window.end

    def of(self, record: dict[str, object]) -> Mark:
        """The watermark of a record. Raises SourceChanged for one without."""
        value = dig(record, self.field)
        try:
            return self._parse(str(value))
        except ValueError:
            raise SourceChanged(
                f"source {self._source!r}: a record has no {self._kind} in {self.field!r}",
                expected="an ISO date" if self._days else "an ISO 8601 time or a number",
                found="nothing" if value is None else repr(str(value)[:40]),
                remedy=f"Mend `watermark` in {self._table.file}, or the API.",
            ) from None

    def moved(self, position: Position | None, record: dict[str, object]) -> Position:
        """The position that has this record behind it, too."""
        mark, last = self.of(record), self._last(position)
        if position is None or last is None or mark > last:  # type: ignore[operator]  # both of one kind, see `of`
            position = {"watermark": str(mark) if self._days else str(dig(record, self.field))}
        elif mark < last:  # type: ignore[operator]
            return position
        if self._days:
            return position
        seen = [*_seen(position), _digest(record)]
        if len(seen) > _MOST_SEEN:
            raise SourceChanged(
                f"source {self._source!r}: more than {_MOST_SEEN} records have the same {self.field!r}",
                expected="fewer, for they are remembered until there is a later one",
                found=str(mark),
                remedy=f"Name a finer `watermark` in {self._table.file}.",
            )
        return {**position, "seen": seen}

    @property
    def _kind(self) -> str:
        return "day" if self._days else "moment or number"

    def _parse(self, text: str) -> Mark:
        if self._days:
            return date.fromisoformat(text[:10])
        try:
            number = Decimal(text)
        except InvalidOperation:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if number.is_finite():
            return number
        raise ValueError(text)

    def _last(self, since: Position | None) -> Mark | None:
        if since is None:
            return None
        try:
            return self._parse(str(since["watermark"]))
        except (KeyError, ValueError):
            raise SourceError(
                f"the stored position of {self._table.name} is not one of {self._kind}s",
                expected='{"watermark": "<ISO date>"}' if self._days else '{"watermark": "<ISO time or number>"}',
                found=repr(since)[:200],
                remedy="The table was loaded from another kind of source before: drop it, or restore its contract.",
            ) from None


def _seen(position: Position) -> list[str]:
    seen = position.get("seen")
    return seen if isinstance(seen, list) else []


def _digest(record: dict[str, object]) -> str:
    return hashlib.blake2b(dump(record).encode(), digest_size=10).hexdigest()
