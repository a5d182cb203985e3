"""What time it is, for rules about how new rows are. How such a rule is judged is `contracts/failures.py`."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import duckdb

from lakehouse.errors import SettingsError
from lakehouse.quality.masking import without_quotes
from lakehouse.quality.views import first_line
from lakehouse.settings import Settings
from lakehouse.tables.sql import literal

BEGINNING = datetime.fromtimestamp(0, UTC)
"""The time while a clock made of tables has nothing to read yet: by then nothing is late."""


def now(settings: Settings, connection: duckdb.DuckDBPyConnection) -> datetime:
    """The time of `settings.quality.clock`, in UTC; the machine's where none is set.

    A day stands for its end, NULL for BEGINNING. Raises SettingsError when the query fails or does not answer with one
    time.
    """
    sql = settings.quality.clock
    if sql is None:
        return datetime.now(UTC)
    try:
        row = connection.execute(sql).fetchone()
    except duckdb.Error as error:
        raise _no_time(sql, without_quotes(first_line(error))) from None
    match row:
        case (datetime() as moment,):
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        case (date() as day,):
            return datetime.combine(day + timedelta(days=1), time(), UTC)
        case (None,):
            return BEGINNING
    raise _no_time(sql, "no row" if row is None else ", ".join(map(str, row)))


def timestamp(moment: datetime) -> str:
    """A moment as SQL of type TIMESTAMP WITH TIME ZONE."""
    return f"timestamptz {literal(moment.isoformat(sep=' '))}"


def _no_time(sql: str, found: str) -> SettingsError:
    return SettingsError(
        "the setting 'quality.clock' does not say what time it is",
        expected="a query of one date or timestamp",
        found=found,
        remedy=f"Mend it, or remove it for the machine's own clock: {' '.join(sql.split())}",
    )
