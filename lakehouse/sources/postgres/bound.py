"""Up to where a load by watermark may read, so that a transaction that commits late is read by the next load.

The bound is the start of the oldest transaction in flight, and at most one second before the clock: rows of a
transaction that begins later carry a later time. It is taken before the snapshot that reads. This holds for a
watermark column that is set from the transaction's start (`now()`) or later; a column that an application sets from an
earlier time needs another mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
import structlog

from lakehouse.errors import SourceChanged, SourceError, SourceRefused
from lakehouse.sources.postgres.catalog import Connection
from lakehouse.sources.postgres.connection import Address

CLOCK = "clock_timestamp()"

_log = structlog.get_logger(__name__)

_PATIENCE = timedelta(minutes=15)
"""A transaction that holds a bound back for longer is worth a warning."""

# A transaction reports its start a moment after it took it; the margin covers that moment.
_MARGIN = timedelta(seconds=1)

# Vacuum and replication senders hold transactions open for long and write no rows.
_BOUND = """
select ({clock})::timestamptz,
       (select min(xact_start) from pg_stat_activity
        where pid <> pg_backend_pid() and datname = current_database()
          and backend_type not in ('autovacuum worker', 'walsender'))
"""

_HIDDEN = """
select count(*) from pg_stat_activity
where datname = current_database() and usesysid is not null and query = '<insufficient privilege>'
"""


@dataclass(frozen=True)
class Bound:
    """Up to where to read, in UTC, and how far a transaction in flight holds that back."""

    time: datetime
    held_back: timedelta = timedelta(0)

    def warn(self, address: Address) -> None:
        """Say it in the log when rows wait for a transaction that is open for long."""
        if self.held_back > _PATIENCE:
            _log.warning("a long transaction holds the load back", source=str(address), since=self.time.isoformat())


def watermark_bound(connection: Connection, address: Address, clock: str) -> Bound:
    """The bound. `clock` is a SQL expression for the time that the watermark column is set from.

    Raises SourceRefused where another user's transactions are hidden, and SourceError on a replica or while a prepared
    transaction is pending: there nobody can say how old the oldest writer is.
    """
    _require_sight(connection, address)
    try:
        row = connection.execute(_BOUND.format(clock=clock)).fetchone()
    except (psycopg.errors.UndefinedFunction, psycopg.errors.SyntaxError, psycopg.errors.UndefinedColumn) as error:
        raise SourceChanged(
            f"{address}: the clock {clock!r} of the contract cannot be asked",
            found=str(error).splitlines()[0],
            remedy="Mend `clock` in the contract's load, or create the function in the source.",
        ) from None
    if row is None or not isinstance(row[0], datetime):
        raise SourceError(
            f"{address}: the clock {clock!r} of the contract answers no time",
            expected="a timestamp with time zone",
            found="NULL",
            remedy="Mend `clock` in the contract's load.",
        )
    latest = row[0] - _MARGIN
    return Bound(latest) if row[1] is None or row[1] >= latest else Bound(row[1], latest - row[1])


def require_primary(connection: Connection, address: Address) -> None:
    """Raise SourceError on a replica."""
    row = connection.execute("select pg_is_in_recovery()").fetchone()
    if row and row[0]:
        raise SourceError(
            f"{address} is a replica, which does not show the transactions in flight",
            remedy="Point the source's url at the primary.",
        )


def _require_sight(connection: Connection, address: Address) -> None:
    require_primary(connection, address)
    row = connection.execute("select count(*) from pg_prepared_xacts").fetchone()
    prepared = row[0] if row else 0
    if prepared:
        raise SourceError(
            f"{address} has {prepared} prepared transactions, whose rows may appear at any time",
            remedy="Commit or roll them back (see pg_prepared_xacts), then load again; or load with `watermark: xmin`.",
        )
    hidden = connection.execute(_HIDDEN).fetchone()
    if hidden and hidden[0]:
        raise SourceRefused(
            f"{address} hides the transactions of other users, so rows that commit late would be lost",
            remedy="GRANT pg_read_all_stats to the user of the source's url, or load with `watermark: xmin`.",
        )
