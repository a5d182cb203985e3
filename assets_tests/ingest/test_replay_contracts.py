"""Replays under contracts that have changed otherwise than by a rule: types, columns, names. No value is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets_tests.ingest.payments import QUARANTINE, ids, paid, rows, write
from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg import Lake
from lakehouse.ingest import load, replay
from lakehouse.ingest.quarantine import kept
from lakehouse.settings import Settings
from lakehouse.sources import Broken
from lakehouse.sources.reader import MAX_PAYLOAD
from lakehouse.tables import Column, Rule, Table

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "int", "paid_at": "timestamptz"}
LARGE = Rule("large", "amount > 100", column="amount")


@pytest.fixture
def strict(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id"], rules=[LARGE], reject_limit=1.0)


def with_columns(table: Table, *columns: Column) -> Table:
    """The table with these columns, by their names, in place of its own or behind them; and no rules."""
    given = {column.name: column for column in columns}
    own = [given.pop(column.name, column) for column in table.columns]
    return replace(table, columns=(*own, *given.values()), rules=())


def states(lake: Lake) -> list[str]:
    return sorted(str(row["state"]) for row in rows(lake, QUARANTINE))


def test_a_wider_type_lets_a_value_in_that_did_not_fit(landing: Settings, lake: Lake, strict: Table) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "3000000000"), paid("P3", "many"))
    load(landing, lake, strict, run_id="load")
    wider = with_columns(strict, Column("amount", "long"))
    result = replay(landing, lake, wider, run_id="replay")
    assert (result.entered, result.broken) == (1, {"amount_type": 1})
    assert [row["amount"] for row in rows(lake, strict.name) if row["payment_id"] == "P2"] == [3_000_000_000]


def test_a_type_that_the_table_cannot_take_stops_the_replay_and_closes_nothing(
    landing: Settings, lake: Lake, strict: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "many"))
    load(landing, lake, strict, run_id="load")
    other = with_columns(strict, Column("amount", "string"))
    with pytest.raises(SchemaMismatch, match="amount"):
        replay(landing, lake, other, run_id="replay")
    assert (ids(lake, strict), states(lake)) == (["P1"], ["open"])


def test_a_column_that_the_contract_has_dropped_is_kept_beside_it(landing: Settings, lake: Lake, strict: Table) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "2"))
    load(landing, lake, strict, run_id="load")
    columns = tuple(column for column in strict.columns if column.name != "amount")
    dropped = replace(strict, columns=columns, rules=(), drop=frozenset({"amount"}))
    assert replay(landing, lake, dropped, run_id="replay").entered == 1
    extra = {row["payment_id"]: row["_extra"] for row in rows(lake, strict.name)}
    assert json.loads(str(extra["P2"])) == {"amount": "2"}


@pytest.mark.parametrize("required", [True, False])
def test_a_renamed_column_is_missing_in_what_came_under_its_old_name(
    landing: Settings, lake: Lake, strict: Table, *, required: bool
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "2"))
    load(landing, lake, strict, run_id="load")
    columns = tuple(column for column in strict.columns if column.name != "amount")
    renamed = replace(strict, columns=(*columns, Column("total", "int", required=False)), rules=())
    renamed = replace(renamed, drop=frozenset({"amount"}))
    if required:
        renamed = replace(renamed, rules=(Rule("total_known", "total IS NOT NULL", column="total"),))
        assert replay(landing, lake, renamed, run_id="replay").broken == {"total_known": 1}
        (record,) = rows(lake, QUARANTINE)
        assert (record["state"], record["error"]) == ("open", "total IS NOT NULL")
        return
    assert replay(landing, lake, renamed, run_id="replay").entered == 1
    (row,) = (row for row in rows(lake, strict.name) if row["payment_id"] == "P2")
    assert (row["total"], json.loads(str(row["_extra"]))) == (None, {"amount": "2"})


def test_a_new_column_is_filled_from_what_was_kept(landing: Settings, lake: Lake, strict: Table) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "2") | {"payer": "Ada"})
    load(landing, lake, strict, run_id="load")
    grown = with_columns(strict, Column("payer", "string"))
    assert replay(landing, lake, grown, run_id="replay").entered == 1
    (row,) = (row for row in rows(lake, strict.name) if row["payment_id"] == "P2")
    assert (row["payer"], row["_extra"]) == ("Ada", None)


@given(st.one_of(st.binary(max_size=50), st.text(max_size=50).map(str.encode)), st.integers(0, 70_000), st.booleans())
def test_of_a_payload_a_bounded_part_is_kept_and_none_of_it_is_changed(piece: bytes, size: int, text: bool) -> None:
    whole = (piece * (size // max(1, len(piece)) + 1))[:size]
    if text:
        whole = whole.decode(errors="ignore").encode()
    found = kept(whole)
    shown, raw = str(found["payload"]), found["payload_raw"]
    assert found["payload_bytes"] == len(whole)
    assert len(shown.encode()) <= MAX_PAYLOAD
    assert raw is None or (isinstance(raw, bytes) and len(raw) <= MAX_PAYLOAD)
    # Text is kept as text, but for a letter that the cut goes through; else its bytes are.
    assert whole.startswith(shown.encode() if raw is None else raw)  # type: ignore[arg-type]
    assert (raw is None) >= text
    if len(whole) <= MAX_PAYLOAD:
        assert (shown.encode() if raw is None else raw) == whole


@given(st.integers(0, 3 * MAX_PAYLOAD))
def test_a_record_that_does_not_parse_is_bounded_where_it_is_made(size: int) -> None:
    record = Broken(b"x" * size, "a.csv:1", "wrong")
    assert (len(record.payload), record.size) == (min(size, MAX_PAYLOAD), size)
