"""The embedded PostgreSQL: it starts, stays, survives kills, and says what is wrong when it cannot start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets_tests.services.asked import one
from lakehouse.errors import ServiceError, StateError
from lakehouse.services.postgres import EmbeddedPostgres

ROOT = Path(__file__).resolve().parents[2]
ENSURE = """
import sys
from pathlib import Path
from lakehouse.services.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.uri(sys.argv[2])
print("pid", server.status().pid)
"""


def elsewhere(folder: Path, database: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", ENSURE, str(folder), database]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pid_said(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return int(said.rpartition("pid ")[2])


def test_one_address_serves_every_driver(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    assert one(uri, "SELECT current_database()") == "lake"
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 41 + 1 AS answer")
        assert cursor.fetch_arrow_table().to_pylist() == [{"answer": 42}]
    engine = sqlalchemy.create_engine(server.uri("lake", driver="postgresql+psycopg").get_secret_value())
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "lake"
    engine.dispose()


def test_time_is_utc_text_is_utf8_and_commits_are_durable(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    found = {name: one(uri, f"SHOW {name}") for name in ("timezone", "server_encoding", "fsync", "listen_addresses")}
    assert found == {"timezone": "UTC", "server_encoding": "UTF8", "fsync": "on", "listen_addresses": ""}
    assert one(uri, "SELECT upper('straße ñ')") == "STRASSE Ñ" or one(uri, "SELECT upper('ñ')") == "Ñ"


def test_address_is_not_shown_when_printed(server: EmbeddedPostgres) -> None:
    assert "socket" not in f"{server.uri('lake')!r}{server.uri('lake')}"


@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15).filter(
        lambda name: len(name.encode()) < 64
    )
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_may_be_a_database(postgres: EmbeddedPostgres, name: str) -> None:
    assert one(postgres.uri(name).get_secret_value(), "SELECT current_database()") == name


def test_name_that_postgresql_refuses_is_explained(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(ServiceError, match="cannot be made"):
        postgres.uri("")


def test_data_outlives_a_stop(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    server.stop()
    assert not server.status().running
    server.stop()
    assert server.uri("lake").get_secret_value() == uri
    assert one(uri, "SELECT value FROM kept") == 7


def test_status_starts_nothing(server: EmbeddedPostgres, tmp_path: Path) -> None:
    assert not server.status().running
    assert list(tmp_path.iterdir()) == []
    server.ensure()
    status = server.status()
    assert status.running
    assert status.pid is not None
    assert status.log is not None
    assert "ready to accept connections" in status.log.read_text()


def test_server_answers_after_the_process_that_started_it_ended(server: EmbeddedPostgres, tmp_path: Path) -> None:
    pid = pid_said(elsewhere(tmp_path / "postgres", "lake"))
    assert server.status().pid == pid
    assert one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
    assert server.status().pid == pid


def test_ctrl_c_of_the_starter_does_not_reach_the_server(server: EmbeddedPostgres) -> None:
    server.ensure()
    pid = server.status().pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


def test_two_processes_that_start_at_once_share_one_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    starters = [elsewhere(folder, "lake") for _ in range(3)]
    pids = {pid_said(starter) for starter in starters}
    assert pids == {server.status().pid}


def test_threads_may_ask_for_the_same_new_database(postgres: EmbeddedPostgres) -> None:
    name = f"shared_{time.monotonic_ns()}"
    with ThreadPoolExecutor(6) as pool:
        uris = {uri.get_secret_value() for uri in pool.map(postgres.uri, [name] * 12)}
    assert [one(uri, "SELECT current_database()") for uri in uris] == [name]


def test_path_too_long_for_a_socket(tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    server = new_server(tmp_path / ("deep" * 20) / ("deeper" * 20) / "postgres")
    uri = server.uri("lake").get_secret_value()
    folder = parse_qs(urlsplit(uri).query)["host"][0]
    assert len(f"{folder}/.s.PGSQL.5432") <= 103
    assert one(uri, "SELECT 1") == 1
    server.stop()
    assert server.uri("lake").get_secret_value() == uri


def test_path_with_characters_that_shells_and_lists_split(
    tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    server = new_server(tmp_path / "a, b$HOME'%" / "postgres")
    assert one(server.uri("lake").get_secret_value(), "SELECT 1") == 1


def test_no_other_user_may_enter(server: EmbeddedPostgres) -> None:
    folder = Path(parse_qs(urlsplit(server.uri("lake").get_secret_value()).query)["host"][0])
    assert folder.stat().st_mode & 0o077 == 0
    assert folder.parent.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends the server another account")
def test_root_under_a_private_folder_is_given_a_place_elsewhere(
    tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    server = new_server(private / "postgres")
    uri = server.uri("lake").get_secret_value()
    record = json.loads((private / "postgres" / "location.json").read_text())
    assert not record["path"].startswith(str(tmp_path))
    assert private.stat().st_mode & 0o777 == 0o700
    # A later process finds it by the record.
    assert pid_said(elsewhere(private / "postgres", "lake")) == server.status().pid
    assert one(uri, "SELECT 1") == 1
    server.remove()
    assert not Path(record["path"]).exists()


def test_folder_that_cannot_be_written_to(tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="LAKEHOUSE_STATE"):
        new_server(tmp_path / "file" / "postgres").ensure()


def test_read_only_folder(new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    with pytest.raises(StateError, match="cannot use /sys/kernel"):
        new_server(Path("/sys/kernel/postgres")).ensure()
