"""Fixtures that every area of the tests shares: real services in temporary folders, never a mock."""

from __future__ import annotations

import gc
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from pydantic import SecretStr

from assets_tests.forks import Fork
from lakehouse.services import process
from lakehouse.services.buckets import make_buckets
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.servers import (
    S3_KINDS,
    ServerKind,
    cache_folder,
    installed,
    rest_catalog_spec,
    s3_spec,
    toxiproxy_spec,
)
from lakehouse.services.servers.toxics import Toxiproxy
from lakehouse.services.status import PORT, ServiceSpec, Status
from lakehouse.settings import S3, Settings, load_settings

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake

# Their asserts stand outside of test modules: else a failure would not say what was compared. To be said before any of
# them is imported, and they import one another.
_MACHINES = (f"assets_tests.{area}.machine" for area in ("changes", "iceberg", "upkeep"))
pytest.register_assert_rewrite("assets_tests.exploring", "assets_tests.iceberg.contracts_changed", *_MACHINES)

# Examples may take as long as a busy machine makes them take. Where a test does not say how many, CI tries the usual
# hundred, and a run by hand a quarter of them.
IN_CI = os.environ.get("CI") == "true"
LONGEST = ("end_to_end", "ui", "bad_input", "defects")
"""Folders whose files keep a worker busy for minutes: they go first, or the other workers wait for them in the end."""
hypothesis.settings.register_profile("patient", deadline=None, max_examples=100 if IN_CI else 25)
hypothesis.settings.load_profile("patient")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    server.ensure()
    yield server
    server.remove()


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> SecretStr:
    return postgres.uri(f"test_{uuid.uuid4().hex[:12]}")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = tmp_path / "state"
    state.mkdir()
    return load_settings(ROOT, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


@pytest.fixture
def lake(settings: Settings) -> Lake:
    from lakehouse.iceberg import Lake

    return Lake.open(settings)


@pytest.fixture
def fork(tmp_path: Path) -> Iterator[Callable[..., Fork]]:
    """fork(program, *words): it as a process of its own, that imports nothing anew; killed with the test."""
    with ExitStack() as running:

        def start(program: str, *words: object) -> Fork:
            started = Fork(program, words, tmp_path / f"stderr-{uuid.uuid4().hex[:8]}")
            running.callback(started.close)
            return started

        yield start


def _of(*kinds: ServerKind) -> list[object]:
    """Parameters of a fixture: whoever asks for it is a test of `make test-services`, without saying so."""
    return [pytest.param(kind, id=kind.value, marks=pytest.mark.services) for kind in kinds]


@pytest.fixture(scope="session")
def program() -> Callable[[ServerKind], Path]:
    """Where a server is installed; the test is skipped where it is not, except in CI."""

    def find(kind: ServerKind) -> Path:
        found = installed(kind, cache_folder(load_settings(ROOT)))
        if found is None:
            stop = pytest.fail if IN_CI else pytest.skip
            stop(f"{kind} is not installed: `make test-services` does it, or `lakehouse service install {kind}`")
        return found

    return find


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[ServiceSpec], Status]]:
    """Start servers for the length of the session, each with records of its own."""
    started: list[tuple[Path, str]] = []

    def start(spec: ServiceSpec) -> Status:
        folder = tmp_path_factory.mktemp(spec.name)
        started.append((folder, spec.name))
        return process.start(folder, spec)

    yield start
    for folder, name in started:
        process.stop(folder, name)


@pytest.fixture(scope="session")
def s3(start_server: Callable[[ServiceSpec], Status]) -> S3:
    """A mock of S3 as a process of its own, with the bucket `lake`: for tests that must be quick."""
    listen = ("-H", "127.0.0.1", "-p", PORT)
    status = start_server(ServiceSpec("moto", (sys.executable, "-W", "ignore", "-m", "moto.server", *listen)))
    found = S3(endpoint=f"http://127.0.0.1:{status.port}", access_key=SecretStr("key"), secret_key=SecretStr("secret"))
    make_buckets(found, ["lake"])
    return found


@pytest.fixture(scope="session", params=_of(*S3_KINDS))
def s3_server(
    request: pytest.FixtureRequest,
    program: Callable[[ServerKind], Path],
    start_server: Callable[[ServiceSpec], Status],
    tmp_path_factory: pytest.TempPathFactory,
) -> S3:
    """A real S3 server, one of each kind after the other; no buckets yet."""
    data = tmp_path_factory.mktemp("objects")
    key, secret = SecretStr("testkey"), SecretStr(uuid.uuid4().hex)
    spec = s3_spec(request.param, program(request.param), data, access_key=key, secret_key=secret)
    return S3(endpoint=f"http://127.0.0.1:{start_server(spec).port}", access_key=key, secret_key=secret)


@pytest.fixture
def bucket(s3_server: S3) -> str:
    """A new, empty bucket on `s3_server`."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    make_buckets(s3_server, [name])
    return name


@pytest.fixture(scope="session", params=_of(ServerKind.REST_CATALOG))
def start_rest_catalog(
    request: pytest.FixtureRequest,
    program: Callable[[ServerKind], Path],
    start_server: Callable[[ServiceSpec], Status],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str, S3 | None], str]:
    """Start a REST catalog of its own over a warehouse; answers its address. It lives as long as the session."""

    def start(warehouse: str, s3: S3 | None = None) -> str:
        database = tmp_path_factory.mktemp("catalog") / "catalog.db"
        status = start_server(rest_catalog_spec(program(request.param), database, warehouse, s3=s3))
        return f"http://127.0.0.1:{status.port}"

    return start


@pytest.fixture(scope="session", params=_of(ServerKind.TOXIPROXY))
def toxiproxy_server(
    request: pytest.FixtureRequest,
    program: Callable[[ServerKind], Path],
    start_server: Callable[[ServiceSpec], Status],
) -> Status:
    return start_server(toxiproxy_spec(program(request.param)))


@pytest.fixture
def toxiproxy(toxiproxy_server: Status) -> Iterator[Toxiproxy]:
    """A client of a running Toxiproxy; the proxies that a test makes go with it."""
    assert toxiproxy_server.port is not None
    with Toxiproxy(toxiproxy_server.port) as client:
        yield client


def pytest_collection() -> None:
    """Thousands of tests and their modules are all kept: a collector that looks through them again and again is off."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor are they looked through while tests run."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first (with `--no-loadscope-reorder`, so that xdist leaves it there)."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)
