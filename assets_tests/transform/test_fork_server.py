"""Processes of dbt's are forked from one that has imported it: in our environment, and none is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.errors import TransformError
from lakehouse.settings import load_settings
from lakehouse.transform.dbt_process import Request
from lakehouse.transform.fork_server import Fork, ForkServer

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
# A server that is stopped answers nobody and ends for nothing but a kill: as one that imports for ever.
ENDS = """
import os, signal, sys
from pathlib import Path
from lakehouse.transform.fork_server import fork_server
server = fork_server(Path(sys.argv[1]))
os.kill(server.pid, signal.SIGSTOP)
print(server.pid)
"""
FORKS = """
import os, sys
from pathlib import Path
from lakehouse.transform.fork_server import fork_server
server = fork_server(Path(sys.argv[1]))
forked = os.fork()
if forked == 0:
    sys.exit()
print(os.waitpid(forked, 0)[1], server.alive)
"""

IGNORES = """
import os, signal, sys
from pathlib import Path
from lakehouse.transform.fork_server import ForkServer
from assets_tests.transform.test_fork_server import Forked
signal.signal(signal.SIGTERM, signal.SIG_IGN)
server, folder = ForkServer.start(Path(sys.argv[1])), Path(sys.argv[1]).parent
forked = Forked(server, folder)
status = Path(f"/proc/{forked.fork.pid}/status").read_text()
ignored = [line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")]
print(int(ignored[0], 16) >> (signal.SIGTERM - 1) & 1)
forked.fork.end(0)
"""
INHERITS = """
import sys
from pathlib import Path
from lakehouse.transform.fork_server import fork_server, inherit
from lakehouse.transform.fork_serving import import_dbt
import_dbt()
inherit()
log = Path(sys.argv[1])
server = fork_server(log)
from assets_tests.transform.test_fork_server import Forked
for _ in range(2):
    forked = Forked(server, log.parent)
    forked.run_dbt()
    forked.close()
print(server.pid, server.alive, log.exists())
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    server = ForkServer.start(tmp_path_factory.mktemp("server") / "log")
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

    def run_dbt(self) -> None:
        request = Request(load_settings(ROOT), ("--version",))
        os.write(self.to, request.to_json().encode() + b"\n")
        with os.fdopen(os.dup(self.out)) as reports:
            (report,) = map(json.loads, reports)
        assert "end" in report
        assert self.fork.ended(PATIENCE_S)

    def close(self) -> None:
        self.fork.end(PATIENCE_S)
        os.close(self.to)
        os.close(self.out)


def test_a_fork_runs_dbt_where_it_was_told_and_ends_by_itself(server: ForkServer, tmp_path: Path) -> None:
    forked = Forked(server, tmp_path)
    forked.run_dbt()
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
    server = ForkServer.start(tmp_path / "log")
    os.kill(server.pid, signal.SIGKILL)
    with pytest.raises(TransformError, match="dbt cannot be started") as raised:
        Forked(server, tmp_path)
    assert str(tmp_path / "log") in str(raised.value)
    server.close()


def ran(program: str, log: Path, *, strict: bool = True) -> str:
    """What a process with this program prints; `strict`: when all that Python could warn of is an error."""
    words = [sys.executable, *(("-X", "dev", "-W", "error") if strict else ()), "-c", program, str(log)]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_process_that_ends_takes_its_server_along_without_waiting_for_it(tmp_path: Path) -> None:
    server = int(ran(ENDS, tmp_path / "log"))
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)


def test_a_process_that_was_forked_leaves_the_server_to_who_made_it(tmp_path: Path) -> None:
    assert ran(FORKS, tmp_path / "log") == "0 True"


def test_a_process_that_has_imported_dbt_forks_its_server_from_itself(tmp_path: Path) -> None:
    server, alive, logged = ran(INHERITS, tmp_path / "log", strict=False).split()
    assert (alive, logged) == ("True", "False")
    with pytest.raises(ProcessLookupError):
        os.kill(int(server), 0)


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="only Linux shows a process' signals")
def test_a_fork_can_be_ended_by_who_ignores_such_requests(tmp_path: Path) -> None:
    """It lived on until it was killed: minutes, in the tests."""
    assert ran(IGNORES, tmp_path / "log", strict=False) == "0"


def test_a_fork_goes_on_when_its_server_is_closed(tmp_path: Path) -> None:
    server = ForkServer.start(tmp_path / "log")
    forked = Forked(server, tmp_path)
    server.close()
    server.close()
    forked.run_dbt()
    forked.close()
