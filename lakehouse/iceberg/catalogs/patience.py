"""Bounded waiting for PostgreSQL: libpq limits how long it connects, but not how long it waits for an answer.

What the catalog asks the database does not belong here.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy.exc import DisconnectionError

if TYPE_CHECKING:
    import psycopg

_CONNECT_S = 5
_GUARD = "lakehouse.guard"


def patient(uri: str) -> str:
    """A PostgreSQL address whose connections are given up after 5 s; any other address as it is.

    Raises what SQLAlchemy raises for an address that it cannot read.
    """
    url = make_url(uri)
    if url.get_backend_name() != "postgresql" or "connect_timeout" in url.query:
        return uri
    return url.update_query_dict({"connect_timeout": str(_CONNECT_S)}).render_as_string(hide_password=False)


def limit_waiting(engine: Engine, seconds: float) -> None:
    """Cut each connection that is in use for longer: a transaction of the catalog is a matter of milliseconds.

    A connection is tried before it is used, within the same time, and replaced when it is dead. What was cut fails with
    SQLAlchemy's OperationalError.
    """
    if engine.dialect.driver != "psycopg":
        return
    import psycopg  # noqa: PLC0415  (SQLite needs no driver of PostgreSQL)

    def lend(connection: psycopg.Connection[Any], record: Any, _proxy: object) -> None:  # noqa: ANN401  (SQLAlchemy's own)
        guard = _Guard.over(connection, seconds)
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except psycopg.Error as error:
            guard.release()
            # The pool's word for: this one is dead, take a new one.
            raise DisconnectionError from error
        record.info[_GUARD] = guard

    def take_back(_connection: object, record: Any) -> None:  # noqa: ANN401  (the same)
        guard = record.info.pop(_GUARD, None)
        if guard is not None:
            guard.release()

    event.listen(engine, "checkout", lend)
    event.listen(engine, "checkin", take_back)


@dataclass(frozen=True)
class _Guard:
    """A timer that cuts one connection, through a descriptor of its own: the connection's may be another's by then."""

    timer: Timer
    line: socket.socket

    @classmethod
    def over(cls, connection: psycopg.Connection[Any], seconds: float) -> _Guard:
        line = socket.socket(fileno=os.dup(connection.fileno()))
        timer = Timer(seconds, _cut, (line,))
        timer.daemon = True
        timer.start()
        return cls(timer, line)

    def release(self) -> None:
        self.timer.cancel()
        self.line.close()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
