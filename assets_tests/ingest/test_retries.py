"""Which errors a load tries again, how often and for how long; and that what it did is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from assets_tests.ingest.payments import ids, paid, write
from lakehouse import errors
from lakehouse.errors import Fenced, LakehouseError, SourceUnreachable
from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult, load, retries
from lakehouse.ingest.retries import with_retries
from lakehouse.ledger import recorded_loads
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Loads, Settings, load_settings
from lakehouse.tables import Table, TableName

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
NAME = TableName.parse("bronze.payments")
WORTH = {
    errors.SourceUnreachable, errors.CatalogError, errors.CommitConflict, errors.PublishConflict, errors.BranchMissing,
}  # fmt: skip
ONCE = {errors.Fenced}


def kinds(of: type[LakehouseError]) -> Iterator[type[LakehouseError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


KINDS = sorted({kind for kind in kinds(LakehouseError) if kind.__module__ == errors.__name__}, key=lambda k: k.__name__)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, none of which lasts."""
    made: list[float] = []
    monkeypatch.setattr(retries, "sleep", made.append)
    return made


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_tried_again_or_not(kind: type[LakehouseError], pauses: list[float]) -> None:
    tried: list[int] = []

    def attempt(number: int) -> str:
        tried.append(number)
        if number < 3:
            raise kind("it failed", remedy="Try it.")
        return "done"

    if kind in WORTH:
        assert with_retries(attempt, NAME, 60) == "done"
    else:
        with pytest.raises(kind):
            with_retries(attempt, NAME, 60)
    assert tried == ([0, 1, 2, 3] if kind in WORTH else [0, 1] if kind in ONCE else [0])
    assert len(pauses) == len(tried) - 1
    assert all(pause <= longest for pause, longest in zip(pauses, (1, 2, 4), strict=False))


def test_the_time_to_try_begins_with_the_first_failure_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(retries, "monotonic", lambda: clock[0])
    monkeypatch.setattr(retries, "sleep", lambda _seconds: None)
    tried: list[int] = []

    def attempt(number: int) -> None:
        tried.append(number)
        # Hours until it fails first; then half a minute each.
        clock[0] += 10_000 if not number else 30
        raise SourceUnreachable("gone", remedy="Wait.")

    with pytest.raises(SourceUnreachable):
        with_retries(attempt, NAME, 60)
    assert tried == [0, 1, 2]


def test_no_time_is_one_attempt(pauses: list[float]) -> None:
    def attempt(number: int) -> None:
        assert number == 0
        raise SourceUnreachable("gone", remedy="Wait.")

    with pytest.raises(SourceUnreachable):
        with_retries(attempt, NAME, 0)
    assert pauses == []


@pytest.fixture
def patient(sources: Settings) -> Settings:
    return sources.model_copy(update={"loads": Loads(retry_seconds=60)})


def test_a_folder_that_comes_back_is_loaded_and_the_retry_is_told(
    patient: Settings, lake: Lake, make_table: MakeTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments = make_table(COLUMNS, required=["payment_id"])
    write(patient, "a.jsonl", paid("P1"))
    folder = patient.state / "landing"
    folder.rename(patient.state / "elsewhere")
    monkeypatch.setattr(retries, "sleep", lambda _seconds: (patient.state / "elsewhere").rename(folder))
    with capture_logs() as said:
        result = load(patient, lake, payments, run_id="1")
    assert (ids(lake, payments), result.retries, result.bytes_read) == (["P1"], 1, (folder / "a.jsonl").stat().st_size)
    (told,) = recorded_loads(lake, limit=9)
    assert (told.retries, told.bytes_read, told.difference) == (1, result.bytes_read, 0)
    (line,) = (one for one in said if one["event"] == "load is tried again")
    assert (line["tried"], line["table"]) == (1, "bronze.payments")
    assert "landing" in line["reason"]


def test_a_load_that_was_overtaken_looks_once_more_and_finds_nothing_left(
    patient: Settings, lake: Lake, make_table: MakeTable, pauses: list[float]
) -> None:
    payments = make_table(COLUMNS, required=["payment_id"])
    write(patient, "a.jsonl", paid("P1"))
    faster: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not faster:
            write(patient, "b.jsonl", paid("P2"))
            faster.append(load(patient, lake, payments, run_id="faster"))

    result = load(patient, lake, payments, run_id="slower", on_progress=meanwhile)
    assert (result.commit, ids(lake, payments), len(pauses)) == (None, ["P1", "P2"], 1)


def test_a_database_that_is_restarted_while_it_is_read_is_read_from_the_start(
    patient: Settings, lake: Lake, make_table: MakeTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = EmbeddedPostgres(tmp_path / "second")
    try:
        url = second.uri("shop").get_secret_value()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "create table t as select g as id, repeat('x', 500) as note, timestamptz '2026-01-01Z' as w"
                " from generate_series(1, 60000) g"
            )
        settings = load_settings(
            patient.project,
            state=str(patient.state),
            catalog={"uri": patient.catalog.uri.get_secret_value()},
            loads={"retry_seconds": 60},
            sources={"shop": {"kind": "postgres", "url": url}},
        )
        table = make_table({"id": "long", "note": "string"}, source="shop", options={"table": "t", "watermark": "w"})
        stopped: list[int] = []

        def stop(rows: int, _what: str) -> None:
            if not stopped:
                stopped.append(rows)
                second.stop()

        monkeypatch.setattr(retries, "sleep", lambda _seconds: second.ensure())
        result = load(settings, lake, table, run_id="1", on_progress=stop)
    finally:
        second.remove()
    assert 0 < stopped[0] < 60_000
    assert (result.retries, result.rows_read, result.rows_published) == (1, 60_000, 60_000)
    assert sorted(lake.table(table.name).scan(columns=["id"]).read_all()["id"].to_pylist()) == list(range(1, 60_001))


def test_a_server_that_dies_in_the_middle_of_a_body_costs_no_row(
    patient: Settings, lake: Lake, make_table: MakeTable
) -> None:
    deaths = [1]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"rates": [{"day": "2026-01-01", "rate": "1.5"}, {"day": "2026-01-02", "rate": "1.6"}]}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if deaths and deaths.pop() else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        settings = load_settings(
            patient.project,
            state=str(patient.state),
            catalog={"uri": patient.catalog.uri.get_secret_value()},
            sources={"api": {"kind": "http", "base_url": f"http://127.0.0.1:{server.server_port}"}},
        )
        options = {"path": "/rates", "records": "rates", "since": "since", "watermark": "day"}
        table = make_table({"day": "date", "rate": "decimal(10, 2)"}, source="api", options=options)
        result = load(settings, lake, table, run_id="1")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert deaths == []
    assert (result.rows_read, result.rows_published, result.difference) == (2, 2, 0)


def test_two_loads_that_fence_each_other_end(pauses: list[float]) -> None:
    def attempt(_number: int) -> None:
        raise Fenced("another was faster", remedy="Load again.")

    with pytest.raises(Fenced):
        with_retries(attempt, NAME, 60)
    assert len(pauses) == 1
