"""`lakehouse load`: the balance of loads in the terminal, and what cannot be asked."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from assets_tests.cli.conftest import Command
from lakehouse.iceberg import Lake
from lakehouse.ledger import LoadRecord, record_load
from lakehouse.tables import TableName

LOAD = LoadRecord(
    table=TableName.parse("bronze.orders"),
    run_key="abc",
    run_id="0123456789",
    started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seconds=1.5,
    rows_read=1000,
    rows_published=700,
    rows_quarantined=200,
    rows_seen=100,
    bytes=4096,
    position_from=None,
    position_to={"watermark": "2026-01-02"},
    snapshot_id=42,
    retries=2,
    lag_seconds=3.5,
)
LATER = replace(LOAD, run_key="def", started_at=datetime(2026, 1, 3, tzinfo=UTC), snapshot_id=43, reread="full")
OTHER = replace(LOAD, table=TableName.parse("bronze.payments"), run_key="ghi", snapshot_id=44)


def test_loads_are_listed_with_their_balance_the_newest_first(lakehouse: Command, lake: Lake) -> None:
    for load in (LOAD, LATER, OTHER):
        record_load(lake, load)
    shown = lakehouse("load", "list", "bronze.orders")
    assert shown.code == 0
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[1][0] == lines[2][0] == "bronze.orders"
    assert (lines[1][1], lines[1][3], lines[2][1]) == ("2026-01-03", "full", "2026-01-02")
    assert lines[2][2:] == ["03:04", "1,000", "700", "200", "100", "0", "1.50", "2", "3.50"]
    (one,) = json.loads(lakehouse("load", "list", "--limit", "1", "--json").out)
    assert (one["table"], one["difference"], one["position_to"]) == ("bronze.orders", 0, LOAD.position_to)
    assert len(json.loads(lakehouse("load", "list", "--json").out)) == 3


def test_a_load_out_of_balance_is_a_finding(lakehouse: Command, lake: Lake) -> None:
    record_load(lake, replace(LOAD, rows_published=699))
    shown = lakehouse("load", "list", "--json")
    assert (shown.code, json.loads(shown.out)[0]["difference"]) == (1, 1)


def test_nothing_was_loaded_yet(lakehouse: Command) -> None:
    shown = lakehouse("load", "list")
    assert (shown.code, shown.out.strip()) == (0, "Nothing there yet.")
    assert lakehouse("load", "list", "--rebuild").code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "silver.orders"), "silver.orders is not loaded from a source"),
        (("list", "gold.x"), "gold.x is not loaded from a source"),
        (("run", "bronze.orders", "--full", "--from", "2026-01-01"), "--full reads every day again"),
        (("run", "bronze.orders", "--from", "2026-01-02", "--to", "2026-01-01"), "lies before --from"),
        (("run", "bronze.nothing"), "no contract declares bronze.nothing"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(lakehouse: Command, words: tuple[str, ...], said: str) -> None:
    ended = lakehouse("load", *words)
    assert (ended.code, said in " ".join(ended.err.split())) == (2, True)
