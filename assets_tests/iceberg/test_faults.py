"""What is between us and a server fails, before it acted or after: rows are there once, and no reader notices.

Toxiproxy does to connections what bad networks do; `bench.proxy` answers whole requests as bad servers do. After each
fault the same run key runs again on the straight way: what landed must be recognised, what did not must be written.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pytest
from pydantic import SecretStr
from pyiceberg.catalog.rest import RestCatalog

from bench.proxy import HONEST, Fault, Proxy, Request
from lakehouse.errors import BranchMissing, CatalogError, CommitConflict, LakehouseError
from lakehouse.iceberg import Commit, Lake, LakeTable, connect
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.servers import Toxiproxy
from lakehouse.settings import Settings
from lakehouse.tables import Table

pytestmark = pytest.mark.services

Rows = Callable[..., pa.Table]
Named = Callable[[Table], Table]
Place = Callable[[str, str], Settings]
Begin = Callable[[Settings], LakeTable]
Strike = Callable[[str, str], None]
_PATIENCE_S = 60


def with_catalog(settings: Settings, uri: str, timeout_s: float = 5) -> Settings:
    changed = {"uri": SecretStr(uri), "timeout_s": timeout_s}
    return settings.model_copy(update={"catalog": settings.catalog.model_copy(update=changed)})


def during(rows: pa.Table, act: Callable[[], object]) -> pa.RecordBatchReader:
    """The rows, with something that happens after the table was opened and before anything is written."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches()
        act()

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def tried(write: Callable[[], Commit]) -> Commit | None:
    """The commit, or None for an error of ours; every other error is a failure of the test."""
    with suppress(LakehouseError):
        return write()
    return None


def settle(table: LakeTable, settings: Settings, rows: pa.Table, *, landed: bool | None) -> None:
    """The same load again, on the straight way: one snapshot of it, every row once, every live file there."""
    again = table.append(rows, run_key="a", progress={"shop": {"w": 1}})
    if landed is not None:
        assert again.already_done is landed
    assert [snapshot.run_key for snapshot in table.snapshots()].count("a") == 1
    wanted = sorted([0, *rows["order_id"].to_pylist()])
    assert sorted(table.scan(columns=["order_id"]).read_all()["order_id"].to_pylist()) == wanted
    assert table.progress("shop") == {"w": 1}
    with connect(settings) as duck:
        found = duck.sql(f"select order_id from {table.relation_sql()} order by 1").fetchall()
    assert [key for (key,) in found] == wanted


@contextmanager
def watched(table: LakeTable, settings: Settings, loaded: int) -> Iterator[None]:
    """Somebody reads all the time, on the straight way: all of the load or nothing of it, and never an error."""
    seen: set[int] = set()
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            with connect(settings) as duck:
                while not done.is_set():
                    seen.add(table.scan().read_all().num_rows)
                    [(number,)] = duck.sql(f"select count(*) from {table.relation_sql()}").fetchall()
                    seen.add(number)
        except BaseException as failure:  # noqa: BLE001  (told below, in the test's thread)
            failures.append(failure)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join(_PATIENCE_S)
    assert failures == []
    assert seen
    assert seen <= {1, 1 + loaded}


@pytest.fixture
def begin(orders: Table, named: Named, rows: Rows) -> Begin:
    """begin(settings): a table there with one row."""

    def make(settings: Settings) -> LakeTable:
        table = Lake.open(settings).create(named(orders))
        table.append(rows([0]), run_key="before")
        return table

    return make


def commits_to(table: LakeTable) -> Callable[[Request], bool]:
    return lambda request: request.method == "POST" and request.path.endswith(f"/tables/{table.name.table}")


def once(fault: Fault, chosen: Callable[[Request], bool]) -> Callable[[Request], Fault]:
    """A judge that strikes the first request that is chosen."""
    struck = threading.Event()

    def judge(request: Request) -> Fault:
        if struck.is_set() or not chosen(request):
            return HONEST
        struck.set()
        return fault

    return judge


# name: what is done to the commit, whether it lands, whether the writer hears of a success.
ANSWERS = {
    "500-before": (Fault(deliveries=0, status=500), False, False),
    "500-after": (Fault(status=500), True, True),
    "502-after": (Fault(status=502), True, True),
    "503-before": (Fault(deliveries=0, status=503), False, False),
    "503-after": (Fault(status=503), True, True),
    "409-before": (Fault(deliveries=0, status=409), True, True),
    "409-after": (Fault(status=409), True, True),
    "400-before": (Fault(deliveries=0, status=400), False, False),
    "posted-twice": (Fault(deliveries=2), True, True),
    "silence-before": (Fault(deliveries=0, silent=True), False, False),
    "silence-after": (Fault(silent=True), True, True),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_rest_catalog_may_answer_what_it_likes(place: Place, begin: Begin, rows: Rows, answer: str) -> None:
    straight = place("rest", "folder")
    table = begin(straight)
    fault, lands, success = ANSWERS[answer]
    with Proxy(straight.catalog.uri.get_secret_value()) as proxy, watched(table, straight, 2):
        bent = Lake.open(with_catalog(straight, proxy.url)).table(table.name)
        proxy.judge = once(fault, commits_to(table))
        heard = tried(lambda: bent.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}}))
        assert (heard is not None) is success
        if heard is not None:
            assert heard.rows_added == 2
        assert len(table.snapshots()) == 1 + lands
        settle(table, straight, rows([1, 2]), landed=lands)


@pytest.mark.parametrize("fault", [Fault(status=409), Fault(status=500), Fault(silent=True)], ids=str)
def test_every_step_of_a_publish_may_lose_its_answer(place: Place, begin: Begin, rows: Rows, fault: Fault) -> None:
    straight = place("rest", "folder")
    table = begin(straight)
    with Proxy(straight.catalog.uri.get_secret_value()) as proxy:
        bent = Lake.open(with_catalog(straight, proxy.url)).table(table.name)
        proxy.judge = lambda request: fault if commits_to(table)(request) else HONEST
        bent.create_branch("run/a")
        bent.append(rows([1, 2]), run_key="a", branch="run/a", progress={"shop": {"w": 1}})
        assert table.stats().rows == 1
        assert bent.publish("run/a").rows_added == 2
    assert table.branches() == ()
    settle(table, straight, rows([1, 2]), landed=True)


def test_a_conflict_that_never_ends_is_given_up_and_deletes_nothing_that_lives(
    place: Place, begin: Begin, rows: Rows
) -> None:
    straight = place("rest", "folder")
    table = begin(straight)
    uri = straight.catalog.uri.get_secret_value()
    with RestCatalog("foreign", uri=uri).load_table(table.name.key).transaction() as change:
        change.set_properties({"commit.retry.total-timeout-ms": "1000"})
    with Proxy(uri) as proxy:
        bent = Lake.open(with_catalog(straight, proxy.url)).table(table.name)
        proxy.judge = lambda request: Fault(deliveries=0, status=409) if commits_to(table)(request) else HONEST
        with pytest.raises(CommitConflict):
            bent.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}})
    settle(table, straight, rows([1, 2]), landed=False)


def test_a_server_that_loses_branches_is_found_out_before_anything_is_written_to_one(
    place: Place, begin: Begin, rows: Rows
) -> None:
    straight = place("rest", "folder")
    table = begin(straight)

    def lose_branches(request: Request, body: bytes) -> bytes:
        if not commits_to(table)(request):
            return body
        asked: dict[str, Any] = json.loads(body)
        asked["updates"] = [update for update in asked["updates"] if update.get("ref-name", "main") == "main"]
        asked["requirements"] = [need for need in asked["requirements"] if need.get("ref", "main") == "main"]
        return json.dumps(asked).encode()

    with Proxy(straight.catalog.uri.get_secret_value()) as proxy:
        proxy.rewrite = lose_branches
        bent = Lake.open(with_catalog(straight, proxy.url)).table(table.name)
        with pytest.raises(BranchMissing, match="run/a"):
            bent.create_branch("run/a")
        with pytest.raises(BranchMissing, match="run/a"):
            bent.append(rows([1, 2]), run_key="a", branch="run/a")
    settle(table, straight, rows([1, 2]), landed=False)


# name: the toxic; None: nobody listens any more. Bytes of an answer: lost but for its beginning, or cut in its middle.
TOXICS: dict[str, tuple[str, dict[str, int]] | None] = {
    "lost": ("limit_data", {"bytes": 30}),
    "cut": ("limit_data", {"bytes": 700}),
    "late": ("latency", {"latency": 60, "jitter": 20}),
    "silent": ("timeout", {"timeout": 0}),
    "reset": ("reset_peer", {"timeout": 0}),
    "refused": None,
}


@pytest.fixture
def strike(toxiproxy: Toxiproxy) -> Strike:
    """strike(proxy, name): from now on, this is done to its connections."""

    def act(proxy: str, name: str) -> None:
        toxic = TOXICS[name]
        if toxic is None:
            toxiproxy.disable(proxy)
        else:
            toxiproxy.add(proxy, "fault", toxic[0], **toxic[1])

    return act


class Line(socketserver.ThreadingTCPServer):
    """PostgreSQL over TCP, for our own listens on a unix socket only. `lossy`: no answer to a COMMIT arrives."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.path = path
        self.lossy = threading.Event()
        self.lost = threading.Event()
        super().__init__(("127.0.0.1", 0), _Forward)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Forward(socketserver.BaseRequestHandler):
    server: Line

    def handle(self) -> None:
        committed = threading.Event()

        def back() -> None:
            while (data := upstream.recv(65536)) and not committed.is_set():
                self.request.sendall(data)
            if committed.is_set():
                self.server.lost.set()
            self.request.shutdown(socket.SHUT_RDWR)

        with socket.socket(socket.AF_UNIX) as upstream, suppress(OSError):
            upstream.connect(self.server.path)
            answers = threading.Thread(target=suppressed, args=(back,))
            answers.start()
            while data := self.request.recv(65536):
                if self.server.lossy.is_set() and b"COMMIT" in data:
                    committed.set()
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
            answers.join()


def suppressed(work: Callable[[], None]) -> None:
    with suppress(OSError):
        work()


@pytest.fixture
def line(postgres: EmbeddedPostgres) -> Iterator[Line]:
    [folder] = parse_qs(urlsplit(postgres.uri("iceberg").get_secret_value()).query)["host"]
    with Line(f"{folder}/.s.PGSQL.5432") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield server
        server.shutdown()


def over_tcp(settings: Settings, port: int) -> Settings:
    address = urlsplit(settings.catalog.uri.get_secret_value())
    return with_catalog(settings, f"{address.scheme}://{address.username}@127.0.0.1:{port}{address.path}", 2)


def test_a_database_whose_answer_to_a_commit_is_lost(place: Place, line: Line, begin: Begin, rows: Rows) -> None:
    straight = place("postgres", "folder")
    table = begin(straight)
    bent = Lake.open(over_tcp(straight, line.port)).table(table.name)
    with watched(table, straight, 2):
        heard = bent.append(during(rows([1, 2]), line.lossy.set), run_key="a", progress={"shop": {"w": 1}})
        assert line.lost.is_set()
        assert (heard.rows_added, heard.already_done) == (2, False)
        settle(table, straight, rows([1, 2]), landed=True)


@pytest.fixture(params=["rest", "postgres"])
def bent_catalog(request: pytest.FixtureRequest, place: Place, toxiproxy: Toxiproxy) -> tuple[Settings, Settings]:
    """The same lake twice: on the straight way to its catalog, and through the proxy `catalog`."""
    straight = place(request.param, "folder")
    uri = straight.catalog.uri.get_secret_value()
    if request.param == "rest":
        return straight, with_catalog(
            straight, f"http://127.0.0.1:{toxiproxy.proxy('catalog', urlsplit(uri).netloc)}", 2
        )
    line: Line = request.getfixturevalue("line")
    return straight, over_tcp(straight, toxiproxy.proxy("catalog", f"127.0.0.1:{line.port}"))


@pytest.mark.parametrize("fault", TOXICS)
def test_the_network_to_the_catalog_fails_during_a_commit(
    bent_catalog: tuple[Settings, Settings],
    strike: Strike,
    begin: Begin,
    rows: Rows,
    fault: str,
) -> None:
    straight, crooked = bent_catalog
    table = begin(straight)
    bent = Lake.open(crooked).table(table.name)
    with watched(table, straight, 2):
        batches = during(rows([1, 2]), lambda: strike("catalog", fault))
        heard = tried(lambda: bent.append(batches, run_key="a", progress={"shop": {"w": 1}}))
        assert heard is not None or fault != "late"
        # Who heard of a success has one; who heard of a failure may have one.
        settle(table, straight, rows([1, 2]), landed=True if heard else None)


@pytest.mark.parametrize("fault", [fault for fault in TOXICS if fault != "late"])
def test_a_catalog_out_of_reach_is_an_error_of_ours_and_back_again_it_is_used(
    bent_catalog: tuple[Settings, Settings],
    strike: Strike,
    toxiproxy: Toxiproxy,
    begin: Begin,
    fault: str,
) -> None:
    straight, crooked = bent_catalog
    table = begin(straight)
    lake = Lake.open(crooked)
    strike("catalog", fault)
    told: list[BaseException] = []

    def ask() -> None:
        try:
            lake.table(table.name)
        except BaseException as error:  # noqa: BLE001  (looked at below, in the test's thread)
            told.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_PATIENCE_S)
    assert [type(error) for error in told] == [CatalogError]
    toxiproxy.reset()
    assert lake.table(table.name).stats().rows == 1


@pytest.fixture(params=["minio", "versitygw"])
def bent_storage(request: pytest.FixtureRequest, place: Place, toxiproxy: Toxiproxy) -> tuple[Settings, Settings]:
    """The same lake twice: on the straight way to its files, and through the proxy `s3`."""
    straight = place("sqlite", request.param)
    port = toxiproxy.proxy("s3", urlsplit(straight.s3.endpoint or "").netloc)
    s3 = straight.s3.model_copy(update={"endpoint": f"http://127.0.0.1:{port}", "timeout_s": 2})
    return straight, straight.model_copy(update={"s3": s3})


@pytest.mark.parametrize("fault", TOXICS)
def test_the_network_to_s3_fails_during_a_write(
    bent_storage: tuple[Settings, Settings], strike: Strike, begin: Begin, rows: Rows, fault: str
) -> None:
    straight, crooked = bent_storage
    table = begin(straight)
    bent = Lake.open(crooked).table(table.name)
    with watched(table, straight, 2):
        batches = during(rows([1, 2]), lambda: strike("s3", fault))
        heard = tried(lambda: bent.append(batches, run_key="a", progress={"shop": {"w": 1}}))
        assert heard is not None or fault != "late"
        settle(table, straight, rows([1, 2]), landed=True if heard else None)
