"""The embedded PostgreSQL when something went wrong: killed, moved, copied, broken, or without room."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from assets_tests.services.asked import one
from lakehouse.errors import ServiceError, StateError
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.processes import birth, end


def kill(server: EmbeddedPostgres) -> int:
    pid = server.status().pid
    assert pid is not None
    assert end(pid, birth(pid) or "", [(signal.SIGKILL, 10)])
    return pid


def test_killed_server_starts_again_with_all_that_was_committed(server: EmbeddedPostgres) -> None:
    uri = server.uri("lake").get_secret_value()
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n")
    # A connection that is in the middle of something keeps a child of the dead server alive for a moment.
    with closing(psycopg.connect(uri)) as busy:
        busy.execute("SELECT count(*) FROM numbers")
        killed = kill(server)
        assert not server.status().running
        again = server.uri("lake").get_secret_value()
    assert server.status().pid not in (killed, None)
    assert one(again, "SELECT sum(n) FROM numbers") == 500500


def test_pid_file_that_names_somebody_else_is_not_believed(server: EmbeddedPostgres, tmp_path: Path) -> None:
    server.ensure()
    home = Path(json.loads((tmp_path / "postgres" / "location.json").read_text())["path"])
    lines = (home / "data" / "postmaster.pid").read_text().split("\n")
    killed = kill(server)
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
    assert one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
    assert server.status().pid != killed


def test_server_asked_for_while_it_is_stopping(server: EmbeddedPostgres) -> None:
    server.ensure()
    stopping = server.status().pid
    assert stopping is not None
    os.kill(stopping, signal.SIGINT)
    assert one(server.uri("lake").get_secret_value(), "SELECT 1") == 1


def test_state_that_was_moved_as_a_whole_goes_on(
    reachable: Path, new_server: Callable[[Path], EmbeddedPostgres]
) -> None:
    before = new_server(reachable / "before" / "postgres")
    with psycopg.connect(before.uri("lake").get_secret_value()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
    before.stop()
    (reachable / "before").rename(reachable / "after")
    after = new_server(reachable / "after" / "postgres")
    assert one(after.uri("lake").get_secret_value(), "SELECT value FROM kept") == 7
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
    assert one(copied.uri("lake").get_secret_value(), "SELECT 1") == 1
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
    assert one(server.uri("lake").get_secret_value(), "SELECT 1") == 1
