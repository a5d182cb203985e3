"""The address of an Iceberg SQL catalog as Java's JDBC wants it. What is done over it does not belong here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

from lakehouse.errors import ServiceError

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Jdbc:
    """What Iceberg's JdbcCatalog must be given."""

    uri: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)


@contextmanager
def jdbc(catalog_uri: str) -> Iterator[Jdbc]:
    """The address of the catalog that SQLAlchemy calls `catalog_uri` (SQLite or PostgreSQL), while the block lasts.

    A PostgreSQL behind a unix socket, which Java's driver cannot use, gets a port on loopback for that long. Raises
    ServiceError for another kind of catalog.
    """
    url = make_url(catalog_uri)
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database:
        yield Jdbc(f"jdbc:sqlite:{url.database}")
        return
    if kind != "postgresql":
        raise ServiceError(f"Spark is not set up for a catalog of kind {kind!r}", remedy="Use SQLite or PostgreSQL.")
    socket_folder = url.query.get("host")
    if isinstance(socket_folder, str) and socket_folder.startswith("/"):
        with _bridge(Path(socket_folder) / f".s.PGSQL.{url.port or 5432}") as port:
            yield Jdbc(f"jdbc:postgresql://127.0.0.1:{port}/{url.database}", url.username, url.password)
        return
    place = f"{url.host or '127.0.0.1'}:{url.port or 5432}"
    yield Jdbc(f"jdbc:postgresql://{place}/{url.database}", url.username, url.password)


@contextmanager
def _bridge(path: Path) -> Iterator[int]:
    """A port on loopback whose connections lead to the unix socket, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, path), daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            # Closing alone does not wake the thread that waits for a connection.
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, path: Path) -> None:
    with suppress(OSError):
        while True:
            near, _ = server.accept()
            threading.Thread(target=_carry, args=(near, path), daemon=True).start()


def _carry(near: socket.socket, path: Path) -> None:
    """Both ways, until both sides have ended."""
    with near, socket.socket(socket.AF_UNIX) as far, suppress(OSError):
        far.connect(str(path))
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(_CHUNK):
            other.sendall(data)
    # Whoever reads there shall not wait for more.
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)
