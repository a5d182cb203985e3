"""Replays by kind of source: a record is parsed again as its reader would parse it under the contract as it is now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from assets_tests.ingest.payments import QUARANTINE, ids, rows
from assets_tests.sources.served import Served, served
from lakehouse.iceberg import Lake
from lakehouse.ingest import discard, load, replay
from lakehouse.ingest.masked import masked
from lakehouse.quality.masking import MASK
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import LoadPolicy, Rule, Table

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "payer": "string", "at": "string"}
LARGE = Rule("large", "amount > 100", column="amount")
PATHS = {"amount": "$.money.amount", "payer": "by.name"}
SENT = {
    "payment_id": "P1",
    "money": {"amount": "7.50", "currency": "EUR"},
    "by": {"name": "Ada"},
    "at": "2026-01-01",
    "payer": "a reference",
}


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as state:
        state.answer = lambda _path, _query: [SENT]
        yield state


@pytest.fixture
def paying(settings: Settings, api: Served) -> Settings:
    """Settings whose only source is an API of payments."""
    return load_settings(
        settings.project,
        state=str(settings.state),
        catalog={"uri": settings.catalog.uri.get_secret_value()},
        sources={"api": {"kind": "http", "base_url": api.url}},
    )


@pytest.fixture
def nested(make_table: MakeTable) -> Table:
    options = {"path": "/payments", "watermark": "at", "since": "since", "pagination": "none", "columns": PATHS}
    return make_table(COLUMNS, source="api", options=options, rules=[LARGE], reject_limit=1.0)


def with_paths(table: Table, **paths: str) -> Table:
    assert table.load is not None
    return replace(table, load=replace(table.load, options={**table.load.options, "columns": paths}))


def test_a_record_of_an_api_is_kept_as_it_came_and_replayed_by_its_paths(
    paying: Settings, lake: Lake, nested: Table
) -> None:
    load(paying, lake, nested, run_id="load")
    (kept,) = rows(lake, QUARANTINE)
    assert json.loads(str(kept["payload"])) == SENT
    assert kept["found"] == '{"amount": "7.50"}'
    assert replay(paying, lake, replace(nested, rules=()), run_id="replay").entered == 1
    (row,) = rows(lake, nested.name)
    assert (row["payment_id"], str(row["amount"]), row["payer"]) == ("P1", "7.50", "Ada")
    assert json.loads(str(row["_extra"])) == {"money": {"currency": "EUR"}, "$.payer": "a reference"}


def test_a_replayed_row_is_the_row_that_a_load_would_bring(
    paying: Settings, lake: Lake, nested: Table, api: Served
) -> None:
    load(paying, lake, nested, run_id="load")
    replay(paying, lake, replace(nested, rules=()), run_id="replay")
    (replayed,) = rows(lake, nested.name)
    api.answer = lambda _path, _query: [SENT | {"at": "2026-01-02"}]
    load(paying, lake, replace(nested, rules=()), run_id="load")
    (loaded,) = (row for row in rows(lake, nested.name) if row["at"] == "2026-01-02")
    ours = {"_run_key", "_extracted_at", "_source", "at"}
    assert {k: v for k, v in replayed.items() if k not in ours} == {k: v for k, v in loaded.items() if k not in ours}


def test_a_path_that_was_wrong_is_mended_and_its_records_pass(paying: Settings, lake: Lake, nested: Table) -> None:
    needed = replace(nested, columns=tuple(replace(c, required=c.name == "amount") for c in nested.columns), rules=())
    wrong = with_paths(needed, amount="$.money.total", payer="by.name")
    load(paying, lake, wrong, run_id="load")
    assert replay(paying, lake, wrong, run_id="replay").broken == {"amount_not_null": 1}
    assert replay(paying, lake, needed, run_id="replay").entered == 1
    (row,) = rows(lake, nested.name)
    assert (str(row["amount"]), row["payer"]) == ("7.50", "Ada")


def test_values_of_personal_columns_are_masked_wherever_an_api_has_them(
    paying: Settings, lake: Lake, nested: Table
) -> None:
    load(paying, lake, nested, run_id="load")
    (kept,) = rows(lake, QUARANTINE)
    private = replace(nested, columns=tuple(replace(one, personal=one.name == "payer") for one in nested.columns))
    shown = masked(paying, private, kept)
    assert json.loads(shown["payload"]) == {
        "payment_id": "P1",
        "at": "2026-01-01",
        "amount": "7.50",
        "payer": MASK,
        # What the contract does not know, under the name of a column or not.
        "money": MASK,
        "$.payer": MASK,
    }
    assert (shown["found"], json.loads(shown["parsed"])["payer"]) == ('{"amount": "7.50"}', MASK)
    assert masked(paying, nested, kept) == kept


@pytest.fixture
def latin(make_table: MakeTable) -> Callable[[str, str | None], Table]:
    """Payments in files of a kind, whose encoding is stated or not."""

    def make(kind: str, encoding: str | None) -> Table:
        stated = {} if encoding is None else {"encoding": encoding}
        columns = {"payment_id": "string", "payer": "string"}
        return make_table(columns, options={"files": f"*.{kind}", **stated}, reject_limit=1.0)

    return make


def test_lines_of_an_encoding_that_was_not_stated_pass_once_it_is(
    landing: Settings, lake: Lake, latin: Callable[[str, str | None], Table]
) -> None:
    lines = b'{"payment_id": "P1", "payer": "Ada"}\n{"payment_id": "P2", "payer": "Ren\xe9"}\n'
    (landing.state / "landing" / "a.jsonl").write_bytes(lines)
    load(landing, lake, latin("jsonl", None), run_id="load")
    assert replay(landing, lake, latin("jsonl", None), run_id="replay").entered == 0
    assert replay(landing, lake, latin("jsonl", "no-such"), run_id="replay").entered == 0
    assert replay(landing, lake, latin("jsonl", "latin-1"), run_id="replay").entered == 1
    assert sorted(str(row["payer"]) for row in rows(lake, latin("jsonl", None).name)) == ["Ada", "René"]


def test_lines_of_csv_that_did_not_parse_come_when_their_file_is_read_again(
    landing: Settings, lake: Lake, latin: Callable[[str, str | None], Table]
) -> None:
    (landing.state / "landing" / "a.csv").write_bytes(b"payment_id,payer\nP1,Ada\nP2,Ren\xe9\n")
    load(landing, lake, latin("csv", None), run_id="load")
    mended = latin("csv", "latin-1")
    result = replay(landing, lake, mended, run_id="replay")
    assert (result.tried, result.entered, result.broken) == (1, 0, {"record_parses": 1})
    again = load(landing, lake, mended, run_id="again", full=True)
    assert (again.rows_published, again.rows_seen) == (1, 1)
    assert ids(lake, mended) == ["P1", "P2"]
    # The line is in bronze by now; that it was this record nobody can tell but a person.
    assert discard(landing, lake, mended, rule="record_parses", why="read again", run_id="me") == 1


def test_a_source_that_is_gone_does_not_stop_a_replay(landing: Settings, lake: Lake, make_table: MakeTable) -> None:
    table = make_table({"payment_id": "string", "amount": "long"}, rules=[Rule("large", "amount > 100")])
    policy = LoadPolicy("landing", {"files": "*.jsonl"}, 1.0)
    (landing.state / "landing" / "a.jsonl").write_text('{"payment_id": "P1", "amount": 5}')
    load(landing, lake, replace(table, load=policy), run_id="load")
    gone = replace(table, load=replace(policy, source="closed"), rules=())
    assert replay(landing, lake, gone, run_id="replay").entered == 1
