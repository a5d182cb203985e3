"""Detached services: one process, found again by its record, never confused with another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.errors import ServiceError, StateError
from lakehouse.services import process, processes
from lakehouse.services.processes import birth, command_line, end, is_taken, locked, run
from lakehouse.services.status import ServiceSpec

ROOT = Path(__file__).resolve().parents[2]
ECHO = """
import argparse, http.server, pathlib, sys
parser = argparse.ArgumentParser()
parser.add_argument("--port-file", type=pathlib.Path)
parser.add_argument("--stubborn", action="store_true")
arguments = parser.parse_args()
heard = sys.stdin.read()
if arguments.stubborn:
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(heard.encode())
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
arguments.port_file.write_text(str(server.server_address[1]))
server.serve_forever()
"""


@pytest.fixture
def echo(tmp_path: Path) -> ServiceSpec:
    (tmp_path / "echo.py").write_text(ECHO)
    return ServiceSpec("echo", (sys.executable, str(tmp_path / "echo.py")), stdin=SecretStr("a secret"))


def _get(port: int | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode())


def test_service_answers_as_soon_as_it_is_started(folder: Path, echo: ServiceSpec) -> None:
    started = process.start(folder, echo)
    assert started.running
    assert _get(started.port) == "a secret"
    assert process.status(folder, "echo") == started
    assert process.names(folder) == ("echo",)


def test_what_it_is_told_stands_in_no_file_and_no_list_of_processes(folder: Path, echo: ServiceSpec) -> None:
    started = process.start(folder, echo)
    ps = ["ps", "-ww", "-o", "command=", "-p", str(started.pid)]
    listed = subprocess.run(ps, check=True, capture_output=True, text=True).stdout
    assert "echo.py" in listed
    assert "a secret" not in listed
    assert "a secret" not in "".join(path.read_text() for path in folder.iterdir())
    assert "a secret" not in repr(echo)


def test_starting_again_changes_nothing(folder: Path, echo: ServiceSpec) -> None:
    assert process.start(folder, echo) == process.start(folder, echo)


def test_many_that_start_at_once_share_one_process(folder: Path, echo: ServiceSpec) -> None:
    with ThreadPoolExecutor(6) as pool:
        started = {pool_status.pid for pool_status in pool.map(lambda _: process.start(folder, echo), range(6))}
    assert len(started) == 1


def test_service_outlives_the_process_that_started_it(folder: Path, echo: ServiceSpec) -> None:
    code = (
        "import sys; from pathlib import Path; from lakehouse.services import process;"
        "from lakehouse.services.status import ServiceSpec;"
        "process.start(Path(sys.argv[1]), ServiceSpec('echo', tuple(sys.argv[2:])))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(folder), *echo.command], check=True, cwd=ROOT)
    status = process.status(folder, "echo")
    assert status.running
    assert _get(status.port) == ""
    assert status.pid is not None
    assert os.getsid(status.pid) != os.getsid(0)


def test_stopped_service_is_gone_and_stopping_again_is_fine(folder: Path, echo: ServiceSpec) -> None:
    started = process.start(folder, echo)
    assert started.pid is not None
    born = birth(started.pid)
    assert born is not None
    process.stop(folder, "echo")
    assert not process.status(folder, "echo").running
    # Its port may be another's by now, its birth may not.
    assert birth(started.pid) != born
    process.stop(folder, "echo")
    assert process.names(folder) == ()


def test_service_that_ignores_the_request_is_killed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    started = process.start(folder, ServiceSpec("echo", (sys.executable, str(tmp_path / "echo.py"), "--stubborn")))
    assert started.pid is not None
    born = birth(started.pid)
    assert born is not None
    assert not end(started.pid, born, [(signal.SIGTERM, 0.3)])
    assert end(started.pid, born, [(signal.SIGTERM, 0.1), (signal.SIGKILL, 10)])
    assert not process.status(folder, "echo").running


@pytest.mark.skipif(run(["env", "--default-signal=TERM", "true"]).returncode != 0, reason="`env` leaves signals alone")
def test_service_hears_the_request_though_who_started_it_ignores_it(folder: Path, echo: ServiceSpec) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        started = process.start(folder, echo)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started.pid is not None
    assert end(started.pid, birth(started.pid) or "", [(signal.SIGTERM, 60)])


def test_killed_service_is_started_again(folder: Path, echo: ServiceSpec) -> None:
    first = process.start(folder, echo)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    end(first.pid, birth(first.pid) or "", [(signal.SIGKILL, 5)])
    assert not process.status(folder, "echo").running
    again = process.start(folder, echo)
    assert again.pid != first.pid
    assert _get(again.port) == "a secret"


def test_another_process_with_the_same_id_is_neither_believed_nor_stopped(folder: Path, echo: ServiceSpec) -> None:
    started = process.start(folder, echo)
    record = json.loads((folder / "echo.json").read_text())
    bystander = subprocess.Popen(["sleep", "60"])
    (folder / "echo.json").write_text(json.dumps({**record, "pid": bystander.pid}))
    assert not process.status(folder, "echo").running
    process.stop(folder, "echo")
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    assert started.pid is not None
    assert end(started.pid, record["born"], [(signal.SIGKILL, 10)])


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}', "[]"])
def test_record_that_was_damaged_counts_as_none(folder: Path, content: str) -> None:
    folder.mkdir()
    (folder / "echo.json").write_text(content)
    assert not process.status(folder, "echo").running


def test_service_that_fails_is_quoted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit('the reason it fails')")
    with pytest.raises(ServiceError, match="the reason it fails"):
        process.start(folder, ServiceSpec("bad", (sys.executable, str(tmp_path / "bad.py"))))
    with pytest.raises(ServiceError, match=r"not found|No such file"):
        process.start(folder, ServiceSpec("missing", ("/no/such/program",)))
    assert process.names(folder) == ()


def test_folder_that_cannot_be_written_to(tmp_path: Path, echo: ServiceSpec) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StateError, match="LAKEHOUSE_STATE"):
        process.start(tmp_path / "file" / "services", echo)


@pytest.mark.parametrize("proc", ["/proc", "/not/on/macos"])
def test_processes_are_recognised_with_and_without_proc(proc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", Path(proc))
    first = subprocess.Popen(["sleep", "60"])
    born = birth(first.pid)
    assert born is not None
    assert birth(first.pid) == born
    assert born != birth(os.getpid())
    # A new program's words appear a moment after the call that started it returns.
    while not command_line(first.pid):
        assert birth(first.pid) == born
    assert command_line(first.pid) == "sleep 60"
    first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert birth(first.pid) is None, "a zombie counts as gone"
    assert is_taken(first.pid)
    first.wait()
    assert birth(first.pid) is None
    assert command_line(first.pid) == ""
    assert not is_taken(first.pid)


def test_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []
    barrier = threading.Barrier(4)

    def enter(number: int) -> None:
        barrier.wait()
        for _ in range(20):
            with locked(tmp_path / "lock"):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(enter, range(4)))
    assert len(most) == 80
    assert set(most) == {1}
