"""Processes of dbt's are forked from one that has imported it: in our environment, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.errors import TransformError
from lakehouse.settings import load_settings
from lakehouse.transform.dbt_process import Request
from lakehouse.transform.fork_server import Fork, ForkServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer(tmp_path_factory.mktemp("server") / "log")
    yield server
    server.close()


class Forked:
    """A fork and our ends of its pipes."""

    def __init__(self, server: ForkServer, folder: Path) -> None:
        (theirs_in, self.to), (self.out, theirs_out) = os.pipe(), os.pipe()
        with (folder / "stderr").open("wb") as errors:
            self.fork: Fork = server.fork(folder, [theirs_in, theirs_out, errors.fileno()])
        os.close(theirs_in)
        os.close(theirs_out)

    def close(self) -> None:
        self.fork.end(PATIENCE_S)
        os.close(self.to)
        os.close(self.out)


def test_a_fork_runs_dbt_where_it_was_told_and_ends_by_itself(server: ForkServer, tmp_path: Path) -> None:
    forked = Forked(server, tmp_path)
    request = Request(load_settings(ROOT), ("--version",))
    os.write(forked.to, request.to_json().encode() + b"\n")
    with os.fdopen(os.dup(forked.out)) as reports:
        (report,) = map(json.loads, reports)
    assert "end" in report
    assert forked.fork.ended(PATIENCE_S)
    forked.close()


def test_a_fork_works_in_the_folder_of_who_asks(server: ForkServer, tmp_path: Path) -> None:
    forked = Forked(server, tmp_path)
    folder = Path(f"/proc/{forked.fork.pid}/cwd")
    if not folder.exists():
        pytest.skip("only Linux shows a process' folder")
    while folder.readlink() != tmp_path:
        assert not forked.fork.ended(0)
    forked.close()


def test_a_fork_that_is_no_longer_wanted_is_ended(server: ForkServer, tmp_path: Path) -> None:
    forked = Forked(server, tmp_path)
    assert not forked.fork.ended(0)
    forked.close()
    with pytest.raises(ProcessLookupError):
        os.kill(forked.fork.pid, 0)


def test_several_forks_do_not_keep_one_another_alive(server: ForkServer, tmp_path: Path) -> None:
    first, second = Forked(server, tmp_path), Forked(server, tmp_path)
    os.kill(first.fork.pid, signal.SIGKILL)
    assert first.fork.ended(PATIENCE_S)
    assert not second.fork.ended(0)
    first.close()
    second.close()


def test_a_server_that_is_gone_is_an_error_that_names_its_log(tmp_path: Path) -> None:
    server = ForkServer(tmp_path / "log")
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(TransformError, match="dbt cannot be started") as raised:
        Forked(server, tmp_path)
    assert str(tmp_path / "log") in str(raised.value)
    server.close()
