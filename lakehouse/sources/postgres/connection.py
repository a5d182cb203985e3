"""Connections to a PostgreSQL source, and the one place where its drivers' errors become ours.

psycopg asks the catalogue, ADBC streams rows; both get the same address. No message holds a password or an address: a
source is named by its name in the settings, host and database. What is read belongs in `reader.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa
from psycopg import conninfo
from psycopg.rows import TupleRow

from lakehouse.errors import SettingsError, SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.services.endpoints import postgres_url
from lakehouse.settings import PostgresSource, Settings

BATCH_BYTES = 8 * 1024 * 1024
"""How much ADBC gathers into one record batch; its default of 16 MB doubles the peak for nothing."""

_DEFAULTS = {"connect_timeout": "10", "application_name": "lakehouse", "client_encoding": "UTF8"}
_REFUSALS = ("authentication failed", "no password supplied", "pg_hba.conf", "role ", "permission denied")
_CHANGED = {"42P01", "42703", "3F000", "42883"}
_GONE = ("08", "57P", "53", "3D")
_CHECK_URL = "Mend `url` of the source in the settings."


@dataclass(frozen=True)
class Address:
    """A database to read from. `dsn` holds the password: it goes to a driver and nowhere else."""

    name: str
    host: str
    database: str
    dsn: str
    password: str | None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Address({self})"

    def __str__(self) -> str:
        """As errors name it."""
        return f"source {self.name!r} (PostgreSQL, host {self.host}, database {self.database})"

    @classmethod
    def of(cls, settings: Settings, source: PostgresSource, name: str) -> Address:
        """Resolve a source of the settings. Raises SettingsError for an address that libpq cannot read."""
        url = postgres_url(settings, source.url).get_secret_value()
        try:
            values: dict[str, Any] = {**_DEFAULTS, **conninfo.conninfo_to_dict(url)}
        except psycopg.ProgrammingError:
            # libpq's own words quote the part that it could not read, which may be the password.
            raise SettingsError(
                f"the url of source {name!r} is not a PostgreSQL address",
                expected="postgresql://user:password@host:port/database, with special characters percent-encoded",
                remedy=_CHECK_URL,
            ) from None
        host = str(values.get("host") or values.get("hostaddr") or "local socket")
        database = str(values.get("dbname") or values.get("user") or "")
        return cls(name, host, database, conninfo.make_conninfo("", **values), values.get("password"))


@contextmanager
def catalogue(address: Address) -> Iterator[psycopg.Connection[TupleRow]]:
    """A psycopg connection in autocommit, in UTC, closed at the end. Errors inside the block become ours."""
    try:
        with psycopg.connect(address.dsn, autocommit=True) as connection:
            connection.execute("set time zone 'UTC'")
            yield connection
    except psycopg.Error as error:
        raise translate(error, address) from None


class Stream:
    """An ADBC connection that reads one repeatable-read snapshot. Close it; errors are ours."""

    def __init__(self, address: Address) -> None:
        self._address = address
        try:
            self._connection = adbc_driver_postgresql.dbapi.connect(address.dsn, autocommit=True)
        except adbc_driver_manager.Error as error:
            raise translate(error, address) from None
        try:
            self.run("set time zone 'UTC'")
            self.run("begin transaction isolation level repeatable read read only")
        except SourceError:
            self.close()
            raise

    def close(self) -> None:
        """End the transaction by closing the connection."""
        self._connection.close()

    def run(self, sql: str) -> None:
        """Run a statement that answers nothing."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)

    def text(self, sql: str) -> str:
        """The one value that a query answers, as text."""
        with self._translated(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return str(cursor.fetchone()[0])

    def number(self, sql: str) -> int:
        """The one whole number that a query answers."""
        return int(self.text(sql))

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """A query's rows, about `BATCH_BYTES` at a time."""
        # The cursor must be closed before its connection, or the driver fails while the process ends.
        with self._translated(), self._connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES)})
            cursor.execute(sql)
            yield from cursor.fetch_record_batch()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (adbc_driver_manager.Error, pa.ArrowException, OSError) as error:
            raise translate(error, self._address) from None


def translate(error: Exception, address: Address) -> SourceError:
    """The error of ours for a driver's: by SQLSTATE, and for failed connections, which have none, by libpq's words."""
    state = getattr(error, "sqlstate", None) or ""
    reason = _reason(error, address)
    if state.startswith("28") or state == "42501" or (not state and any(word in reason for word in _REFUSALS)):
        return SourceRefused(
            f"{address} refused access", found=reason, remedy="Check user, password and grants of the source's url."
        )
    if state in _CHANGED:
        return SourceChanged(
            f"{address} does not have what the contract names", found=reason, remedy="Mend the contract or the source."
        )
    if not state or state.startswith(_GONE):
        return SourceUnreachable(
            f"{address} does not answer",
            found=reason,
            remedy="Check that the server runs and the settings' url is right; then load again.",
        )
    return SourceError(f"{address} failed (SQLSTATE {state})", found=reason, remedy="Mend the source, then load again.")


def _reason(error: Exception, address: Address) -> str:
    """The driver's first telling line, without its prefixes, the query, and the password should it ever be there."""
    text = str(error).partition("\n\nQuery was")[0]
    for mark in ("FATAL:", "ERROR:", "failed: "):
        text = text.rpartition(mark)[2]
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return line.replace(address.password, "***") if address.password else line
