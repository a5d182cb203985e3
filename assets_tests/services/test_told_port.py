"""Programs that are told their port, their secrets by environment, and asked for their health over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.services import process
from lakehouse.services.ports import free_port
from lakehouse.services.processes import birth, end
from lakehouse.services.status import ServiceSpec

SERVE = """
import http.server, json, os, sys
asked = []
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        self.send_response(503 if len(asked) < 3 else 200)
        self.end_headers()
        told = {"one": os.environ.get("ONE"), "two": os.environ.get("TWO"), "home": os.environ.get("HOME"),
                "heard": heard, "asked": len(asked)}
        self.wfile.write(json.dumps(told).encode())
    def log_message(self, *words): pass
heard = sys.stdin.read()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1].removeprefix("--listen="))), Handler).serve_forever()
"""

# Listens nowhere itself, while a child of its answers on the port that it was told.
BESIDE = """
import subprocess, sys, time
code = "import socket, sys; one = socket.create_server(('127.0.0.1', int(sys.argv[1])));"
code += "print(flush=True); one.settimeout(2); [one.accept() for _ in range(100)]"
child = subprocess.Popen([sys.executable, "-c", code, sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
time.sleep(1)
child.kill()
"""


@pytest.fixture
def spec(tmp_path: Path) -> ServiceSpec:
    (tmp_path / "serve.py").write_text(SERVE)
    return ServiceSpec(
        "told",
        (sys.executable, str(tmp_path / "serve.py"), "--listen={port}"),
        environment={"ONE": SecretStr('it\'s "one" $HOME'), "TWO": SecretStr("=two = 2")},
        stdin=SecretStr("line\n\nand another"),
        health="/health",
    )


def _told(port: int | None) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return dict(json.loads(answer.read()))


def test_port_is_chosen_and_told_and_the_service_is_ready_when_its_health_is(folder: Path, spec: ServiceSpec) -> None:
    started = process.start(folder, spec)
    assert process.status(folder, "told") == started
    told = _told(started.port)
    assert isinstance(told["asked"], int)
    assert told["asked"] > 3, "it answered 503 twice, and was asked again"


def test_environment_and_input_arrive_unchanged_beside_what_is_inherited(folder: Path, spec: ServiceSpec) -> None:
    told = _told(process.start(folder, spec).port)
    assert told["one"] == 'it\'s "one" $HOME'
    assert told["two"] == "=two = 2"
    assert told["home"] == os.environ["HOME"]
    assert told["heard"] == "line\n\nand another"


def test_environment_stands_in_no_list_of_processes_and_no_file(folder: Path, spec: ServiceSpec) -> None:
    started = process.start(folder, spec)
    ps = ["ps", "-ww", "-o", "command=", "-p", str(started.pid)]
    assert "two = 2" not in subprocess.run(ps, check=True, capture_output=True, text=True).stdout
    assert "two = 2" not in "".join(path.read_text() for path in folder.iterdir())
    assert "two = 2" not in repr(spec)


def test_given_port_is_the_one(folder: Path, spec: ServiceSpec) -> None:
    port = free_port()
    assert process.start(folder, replace(spec, port=port)).port == port


def test_port_that_another_program_has_is_named(folder: Path, spec: ServiceSpec) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port}.*another program"):
            process.start(folder, replace(spec, port=port))
    assert process.start(folder, replace(spec, port=port)).port == port


def test_answer_of_another_process_is_not_taken_for_its_own(folder: Path, spec: ServiceSpec) -> None:
    words = (sys.executable, "-c", BESIDE, "{port}")
    with pytest.raises(ServiceError, match="does not start"):
        process.start(folder, replace(spec, command=words, health=None))
    assert process.names(folder) == ()


def test_many_that_start_at_once_share_one_process(folder: Path, spec: ServiceSpec) -> None:
    with ThreadPoolExecutor(6) as pool:
        assert len({status.pid for status in pool.map(lambda _: process.start(folder, spec), range(6))}) == 1


def test_killed_one_starts_again(folder: Path, spec: ServiceSpec) -> None:
    first = process.start(folder, spec)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    end(first.pid, birth(first.pid) or "", [(signal.SIGKILL, 5)])
    assert process.start(folder, spec).pid != first.pid


def test_service_that_ends_at_once_is_told_with_its_words(folder: Path, spec: ServiceSpec) -> None:
    words = (sys.executable, "-c", "import sys; sys.exit('no licence')", "{port}")
    with pytest.raises(ServiceError) as refused:
        process.start(folder, replace(spec, command=words))
    assert refused.value.found == "no licence"


def test_secret_of_two_lines_is_refused_without_being_shown(folder: Path, spec: ServiceSpec) -> None:
    with pytest.raises(ServiceError, match="ONE of service told has a line break") as refused:
        process.start(folder, replace(spec, environment={"ONE": SecretStr("a-secret\nTWO=2")}))
    assert "a-secret" not in str(refused.value)
    assert process.names(folder) == ()
