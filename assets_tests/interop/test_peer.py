"""How Spark is got and reached, as far as that shows without Spark."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from bench.spark_jdbc import jdbc
from lakehouse.errors import ServiceError
from lakehouse.services.postgres import EmbeddedPostgres

ROOT = Path(__file__).parents[2]


def test_without_java_it_is_said_what_to_install() -> None:
    words = (sys.executable, "-m", "bench.spark", "install")
    done = subprocess.run(words, cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Spark needs the program 'java', which is not on PATH. Install a JDK 17" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_postgres_behind_a_unix_socket_is_reached_on_loopback_for_a_while(postgres: EmbeddedPostgres) -> None:
    uri = postgres.uri("spark", driver="postgresql+psycopg").get_secret_value()
    with jdbc(uri) as address:
        assert address.user == "postgres"
        reached = urlsplit(address.uri.removeprefix("jdbc:"))
        assert reached.hostname == "127.0.0.1"
        here = f"postgresql://{address.user}@127.0.0.1:{reached.port}{reached.path}"
        # More than one at a time, and more than one read of the socket holds.
        with psycopg.connect(here) as one, psycopg.connect(here) as other:
            assert one.execute("select current_database()").fetchone() == ("spark",)
            assert other.execute("select length(repeat('x', 1000000)), repeat('x', 1000000)").fetchall()[0][0] == 10**6
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(here)


def test_a_postgres_with_a_port_and_a_sqlite_file_are_named_as_java_names_them() -> None:
    with jdbc("postgresql+psycopg://me:secret@db.example:5433/lake") as address:
        assert address.uri == "jdbc:postgresql://db.example:5433/lake"
        assert (address.user, address.password) == ("me", "secret")
        assert "secret" not in repr(address)
    with jdbc("sqlite:////var/lake/catalog.db") as address:
        assert (address.uri, address.user) == ("jdbc:sqlite:/var/lake/catalog.db", None)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:8181", "mysql://me@db.example/lake", "sqlite://"])
def test_another_catalog_is_refused(uri: str) -> None:
    with pytest.raises(ServiceError, match="Use SQLite or PostgreSQL"), jdbc(uri):
        pass


@pytest.mark.parametrize("lock", ["requirements.lock", "build.lock"])
def test_all_that_python_installs_is_pinned_by_hash_and_names_no_index(lock: str) -> None:
    text = (ROOT / "deploy" / "spark" / lock).read_text()
    pinned = [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]
    assert pinned
    assert all("==" in entry and "--hash=sha256:" in entry for entry in pinned)
    assert "://" not in text
