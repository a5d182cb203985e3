"""Servers are installed whole or not at all, once, from what was pinned; each failure is a sentence."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.errors import ServiceError, StateError
from lakehouse.services.servers import ServerKind, cache_folder, install, installed
from lakehouse.services.servers.versions import TOXIPROXY, VERSITYGW
from lakehouse.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
GO = """#!/bin/sh
# Stands in for Go where what matters is what we make of its answers: `mod download` tells a checksum, `install` builds.
echo "$*" >> {log}
case "$1" in
  mod) echo "go: downloading it"; echo '{{"Sum": "{checksum}"}}' ;;
  install) {install} ;;
esac
"""
MAKE = 'echo program > "$GOBIN/server"'


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a `go` first on PATH that answers as told; its log has a line for each call."""
    log = tmp_path / "go.log"
    log.touch()

    def make(*, checksum: str = TOXIPROXY.checksum, then: str = MAKE) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "go").write_text(GO.format(log=log, checksum=checksum, install=then))
        (folder / "go").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return log

    return make


def _left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.name != "lock") if cache.exists() else []


def test_program_is_built_from_the_pinned_module_and_renamed(tmp_path: Path, go: Callable[..., Path]) -> None:
    log = go()
    said: list[str] = []
    cache = tmp_path / "cache"
    folder = install(ServerKind.TOXIPROXY, cache, on_progress=said.append)
    assert folder == cache / "toxiproxy" / TOXIPROXY.version == installed(ServerKind.TOXIPROXY, cache)
    assert [path.name for path in folder.iterdir()] == ["toxiproxy"]
    assert f"{TOXIPROXY.module}/cmd/server@{TOXIPROXY.version}" in log.read_text()
    assert [line.partition(":")[0] for line in said] == [f"toxiproxy {TOXIPROXY.version}"] * 2
    assert "ready after" in said[1]
    assert _left(cache) == ["toxiproxy"]


def test_installing_again_asks_no_tool(tmp_path: Path, go: Callable[..., Path]) -> None:
    log = go()
    first = install(ServerKind.TOXIPROXY, tmp_path / "cache")
    calls, said = log.read_text(), list[str]()
    assert install(ServerKind.TOXIPROXY, tmp_path / "cache", on_progress=said.append) == first
    assert (log.read_text(), said) == (calls, [])


def test_two_that_install_at_once_build_once(tmp_path: Path, go: Callable[..., Path]) -> None:
    log = go()
    barrier = threading.Barrier(3)
    found: list[Path] = []

    def run() -> None:
        barrier.wait()
        found.append(install(ServerKind.TOXIPROXY, tmp_path / "cache"))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(set(found)) == 1
    assert log.read_text().count("install ") == 1


def test_other_module_than_the_pinned_one_is_not_built(tmp_path: Path, go: Callable[..., Path]) -> None:
    log = go(checksum="h1:another=")
    with pytest.raises(ServiceError, match="not the module that was pinned") as refused:
        install(ServerKind.TOXIPROXY, tmp_path / "cache")
    assert (refused.value.expected, refused.value.found) == (TOXIPROXY.checksum, "h1:another=")
    assert "install" not in log.read_text()
    assert _left(tmp_path / "cache") == []


def test_failed_build_tells_the_end_of_what_was_said_and_leaves_nothing(
    tmp_path: Path, go: Callable[..., Path]
) -> None:
    go(then='echo half > "$GOBIN/server"; seq 100; echo no space left; exit 3')
    with pytest.raises(ServiceError, match="building toxiproxy failed: go ended with 3") as refused:
        install(ServerKind.TOXIPROXY, tmp_path / "cache")
    assert refused.value.found is not None
    assert refused.value.found.endswith("100\nno space left")
    assert "half" not in "".join(path.read_text() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert _left(tmp_path / "cache") == []
    go()
    assert install(ServerKind.TOXIPROXY, tmp_path / "cache").is_dir()


def test_killed_installation_leaves_nothing_that_counts(tmp_path: Path, go: Callable[..., Path]) -> None:
    cache, reached = tmp_path / "cache", tmp_path / "reached"
    go(then=f'echo half > "$GOBIN/server"; echo > {reached}; sleep 1')
    code = (
        "import sys; from pathlib import Path; from lakehouse.services.servers import ServerKind, install;"
        "install(ServerKind.TOXIPROXY, Path(sys.argv[1]))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(cache)], cwd=ROOT) as child:
        while not reached.exists():
            assert child.poll() is None
        child.kill()
        assert child.wait() == -signal.SIGKILL
    assert installed(ServerKind.TOXIPROXY, cache) is None
    assert [name.startswith(".unfinished-") for name in _left(cache)] == [True]
    go()
    folder = install(ServerKind.TOXIPROXY, cache)
    assert (folder / "toxiproxy").read_text() == "program\n"
    assert _left(cache) == ["toxiproxy"]


@pytest.mark.parametrize(
    ("kind", "tool"),
    [
        (ServerKind.MINIO, "go"),
        (ServerKind.VERSITYGW, "go"),
        (ServerKind.TOXIPROXY, "go"),
        (ServerKind.REST_CATALOG, "mvn"),
    ],
)
def test_missing_tool_is_named_with_what_to_install(
    kind: ServerKind, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=f"'{tool}', which is not on PATH. Install"):
        install(kind, tmp_path / "cache")
    assert _left(tmp_path / "cache") == []


def test_cache_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(StateError, match="toxiproxy cannot be installed"):
        install(ServerKind.TOXIPROXY, tmp_path / "cache")


def test_cache_is_the_projects_and_outside_of_what_clean_removes() -> None:
    settings = load_settings(ROOT)
    assert cache_folder(settings) == ROOT / ".cache" / "servers"
    assert ".cache/" in (ROOT / ".gitignore").read_text().splitlines()
    assert not cache_folder(settings).is_relative_to(settings.state)


def test_pins_are_whole_versions_with_checksums() -> None:
    for pinned in (TOXIPROXY, VERSITYGW):
        assert pinned.version.startswith("v")
        assert pinned.checksum.startswith("h1:")
        assert pinned.checksum.endswith("=")


@pytest.mark.services
def test_real_program_is_built_and_killed_on_the_way(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    code = (
        "import sys; from pathlib import Path; from lakehouse.services.servers import ServerKind, install;"
        "install(ServerKind.TOXIPROXY, Path(sys.argv[1]), on_progress=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(cache)], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert b"building" in child.stdout.readline()
        child.kill()
    assert installed(ServerKind.TOXIPROXY, cache) is None
    folder = install(ServerKind.TOXIPROXY, cache)
    said = subprocess.run([folder / "toxiproxy", "-version"], check=True, capture_output=True, text=True).stdout
    assert "toxiproxy" in said
    assert _left(cache) == ["toxiproxy"]


@pytest.mark.services
def test_real_checksum_is_that_of_the_module(program: Callable[[ServerKind], Path]) -> None:
    """What is in the cache was built from the pinned modules, as Go itself tells."""
    for kind, pin in ((ServerKind.TOXIPROXY, TOXIPROXY), (ServerKind.VERSITYGW, VERSITYGW)):
        told = subprocess.run(["go", "version", "-m", program(kind) / kind], check=True, capture_output=True, text=True)
        modules = [line.split()[1:] for line in told.stdout.splitlines() if line.strip().startswith("mod")]
        assert modules == [[pin.module, pin.version, pin.checksum]]
