"""The embedded PostgreSQL: it starts, stays, survives kills, and says what is wrong when it cannot start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import adbc_driver_postgresql.dbapi as adbc
import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lakehouse.errors import ServiceError, StateError
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.processes import birth, end

ROOT = Path(__file__).resolve().parents[2]
ENSURE = """
import sys
from pathlib import Path
from lakehouse.services.postgres import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.uri(sys.argv[2])
print("pid", server.status().pid)
"""


def _elsewhere(folder: Path, database: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", ENSURE, str(folder), database]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _pid(process: subprocess.Popen[str]) -> int:
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return int(said.rpartition("pid ")[2])


def _one(uri: str, query: str) -> object:
    with psycopg.connect(uri) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def _kill(server: EmbeddedPostgres) -> int:
    pid = server.status().pid
    assert pid is not None
    assert end(pid, birth(pid) or "", [(signal.SIGKILL, 10)])
    return pid


def test_one_address_serves_every_driver(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    assert _one(uri, "SELECT current_database()") == "lake"
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 41 + 1 AS answer")
        assert cursor.fetch_arrow_table().to_pylist() == [{"answer": 42}]
    engine = sqlalchemy.create_engine(server.uri("lake", driver="postgresql+psycopg").get_secret_value())
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "lake"
    engine.dispose()


def test_time_is_utc_text_is_utf8_and_commits_are_durable(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    found = {name: _one(uri, f"SHOW {name}") for name in ("timezone", "server_encoding", "fsync", "listen_addresses")}
    assert found == {"timezone": "UTC", "server_encoding": "UTF8", "fsync": "on", "listen_addresses": ""}
    assert _one(uri, "SELECT upper('straße ñ')") == "STRASSE Ñ" or _one(uri, "SELECT upper('ñ')") == "Ñ"


def test_address_is_not_shown_when_printed(server: EmbeddedPostgres) -> None:
    assert "socket" not in f"{server.uri('lake')!r}{server.uri('lake')}"


@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15).filter(
        lambda name: len(name.encode()) < 64
    )
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_may_be_a_database(postgres: EmbeddedPostgres, name: str) -> None:
    assert _one(postgres.uri(name).get_secret_value(), "SELECT current_database()") == name


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
    assert _one(uri, "SELECT value FROM kept") == 7


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
    pid = _pid(_elsewhere(tmp_path / "postgres", "lake"))
    assert server.status().pid == pid
    assert _one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
    assert server.status().pid == pid


def test_ctrl_c_of_the_starter_does_not_reach_the_server(server: EmbeddedPostgres) -> None:
    server.ensure()
    pid = server.status().pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


def test_two_processes_that_start_at_once_share_one_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    starters = [_elsewhere(folder, "lake") for _ in range(3)]
    pids = {_pid(starter) for starter in starters}
    assert pids == {server.status().pid}


def test_threads_may_ask_for_the_same_new_database(postgres: EmbeddedPostgres) -> None:
    name = f"shared_{time.monotonic_ns()}"
    with ThreadPoolExecutor(6) as pool:
        uris = {uri.get_secret_value() for uri in pool.map(postgres.uri, [name] * 12)}
    assert [_one(uri, "SELECT current_database()") for uri in uris] == [name]


def test_killed_server_starts_again_with_all_that_was_committed(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n")
    # A connection that is in the middle of something keeps a child of the dead server alive for a moment.
    with closing(psycopg.connect(uri)) as busy:
        busy.execute("SELECT count(*) FROM numbers")
        killed = _kill(server)
        assert not server.status().running
        again = server.uri("lake").get_secret_value()
    assert server.status().pid not in (killed, None)
    assert _one(again, "SELECT sum(n) FROM numbers") == 500500


def test_pid_file_that_names_somebody_else_is_not_believed(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    home = Path(json.loads((tmp_path / "postgres" / "location.json").read_text())["path"])
    lines = (home / "data" / "postmaster.pid").read_text().split("\n")
    killed = _kill(server)
    # After a restart of the machine the number may well belong to another process: this one, for instance.
    (home / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    assert not server.status().running
    server.ensure()
    assert server.status().pid not in (os.getpid(), killed, None)


def test_stop_does_not_touch_a_process_that_got_the_number(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    home = Path(json.loads((tmp_path / "postgres" / "location.json").read_text())["path"])
    content = (home / "data" / "postmaster.pid").read_text()
    server.stop()
    bystander = subprocess.Popen(["sleep", "60"])
    (home / "data" / "postmaster.pid").write_text("\n".join([str(bystander.pid), *content.split("\n")[1:]]))
    server.stop()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_path_too_long_for_a_socket(tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    server = new_server(tmp_path / ("deep" * 20) / ("deeper" * 20) / "postgres")
    uri = server.uri("lake").get_secret_value()
    folder = parse_qs(urlsplit(uri).query)["host"][0]
    assert len(f"{folder}/.s.PGSQL.5432") <= 103
    assert _one(uri, "SELECT 1") == 1
    server.stop()
    assert server.uri("lake").get_secret_value() == uri


def test_path_with_characters_that_shells_and_lists_split(
    tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    server = new_server(tmp_path / "a, b$HOME'%" / "postgres")
    assert _one(server.uri("lake").get_secret_value(), "SELECT 1") == 1


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
    assert _pid(_elsewhere(private / "postgres", "lake")) == server.status().pid
    assert _one(uri, "SELECT 1") == 1
    server.remove()
    assert not Path(record["path"]).exists()


def test_data_that_vanished_is_an_error_and_not_an_empty_server(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    server.stop()
    record = tmp_path / "postgres" / "location.json"
    home = Path(json.loads(record.read_text())["path"])
    home.rename(home.with_name("taken-away-" + home.name))
    with pytest.raises(StateError, match=r"is gone.*location.json"):
        server.ensure()
    home.with_name("taken-away-" + home.name).rename(home)
    server.ensure()


def test_folder_that_cannot_be_written_to(tmp_path: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="LAKEHOUSE_STATE"):
        new_server(tmp_path / "file" / "postgres").ensure()


def test_read_only_folder(new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    with pytest.raises(StateError, match="cannot use /sys/kernel"):
        new_server(Path("/sys/kernel/postgres")).ensure()


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


def test_server_asked_for_right_after_its_kill(server: EmbeddedPostgres) -> None:
    server.ensure()
    killed = server.status().pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    assert _one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
    assert server.status().pid != killed


def test_server_asked_for_while_it_is_stopping(server: EmbeddedPostgres) -> None:
    server.ensure()
    stopping = server.status().pid
    assert stopping is not None
    os.kill(stopping, signal.SIGINT)
    assert _one(server.uri("lake").get_secret_value(), "SELECT 1") == 1


def test_state_that_was_moved_as_a_whole_goes_on(
    reachable: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    before = new_server(reachable / "before" / "postgres")
    with psycopg.connect(before.uri("lake").get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    before.stop()
    (reachable / "before").rename(reachable / "after")
    after = new_server(reachable / "after" / "postgres")
    assert _one(after.uri("lake").get_secret_value(), "SELECT value FROM kept") == 7
    after.stop()


def test_copy_of_a_state_in_use_gets_a_server_of_its_own(
    reachable: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    original, copied = new_server(reachable / "one" / "postgres"), new_server(reachable / "two" / "postgres")
    original.ensure()
    subprocess.run(["cp", "-a", str(reachable / "one"), str(reachable / "two")], check=True)
    record = reachable / "two" / "postgres" / "location.json"
    record.write_text(record.read_text().replace(str(reachable / "one"), str(reachable / "two")))
    assert not copied.status().running
    copied.stop()
    assert original.status().running
    assert _one(copied.uri("lake").get_secret_value(), "SELECT 1") == 1
    assert copied.status().pid != original.status().pid


def test_full_disk(reachable: Path, new_server: Callable[[Path], EmbeddedPostgres]) -> None:
    disk = reachable / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        with pytest.raises(StateError, match="No space left"):
            new_server(disk / "postgres").ensure()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_broken_data_is_reported_with_the_end_of_the_log(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    server.stop()
    home = Path(json.loads((tmp_path / "postgres" / "location.json").read_text())["path"])
    config = home / "data" / "postgresql.conf"
    config.write_text(config.read_text() + "\nno_such_parameter = 1\n")
    with pytest.raises(ServiceError, match='unrecognized configuration parameter "no_such_parameter"'):
        server.ensure()


def test_interrupted_initialisation_is_begun_again(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    server.stop()
    home = Path(json.loads((tmp_path / "postgres" / "location.json").read_text())["path"])
    # What an initdb that was killed half-way leaves.
    (home / "data").rename(home / "data.new")
    (home / "data.new" / "PG_VERSION").unlink()
    assert _one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
