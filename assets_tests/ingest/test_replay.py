"""Replays: what the contract takes by now enters bronze once, as it came, and its record is closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from assets_tests.ingest.payments import QUARANTINE, ids, paid, rows, write
from lakehouse.contracts import Declarations
from lakehouse.errors import LoadRejected, SettingsError
from lakehouse.iceberg import Lake
from lakehouse.ingest import discard, load, quarantined, replay
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Bound, Comparison, LoadPolicy, Rule, Table, TableRule, TableRuleKind, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
LARGE = Rule("large", "amount > 100", column="amount")


@pytest.fixture
def strict(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id", "amount"], rules=[LARGE], reject_limit=1.0, window="paid_at")


@pytest.fixture
def mended(strict: Table) -> Table:
    return replace(strict, rules=())


def states(lake: Lake) -> dict[str, str]:
    """State by coordinate."""
    return {str(row["source"]): str(row["state"]) for row in rows(lake, QUARANTINE)}


def limited(table: Table, limit: float) -> Table:
    return replace(table, load=LoadPolicy("landing", {"files": "*.jsonl"}, limit))


def test_a_mended_contract_lets_rows_in_once_as_they_came(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "12.30"), paid(None, "7"), "{broken", paid("P3", "x"))
    load(landing, lake, strict, run_id="load")
    before = {str(row["source"]): row for row in rows(lake, QUARANTINE)}
    assert {row["state"] for row in before.values()} == {"open"}

    dry = replay(landing, lake, mended, run_id="dry", dry_run=True)
    assert (dry.tried, dry.entered, dry.still_broken, ids(lake, strict)) == (4, 1, 3, ["P1"])
    assert {str(row["source"]): row for row in rows(lake, QUARANTINE)} == before

    published = lake.table(mended.name).snapshots()[0].sequence_number
    result = replay(landing, lake, mended, run_id="replay")
    assert (result.tried, result.entered, result.there) == (4, 1, 0)
    assert result.broken == {"payment_id_not_null": 1, "record_parses": 1, "amount_type": 1}
    assert result.windows == (Window(date(2026, 1, 1), date(2026, 1, 2)),)
    # Whoever builds on the table learns that these days have changed.
    assert lake.table(mended.name).changed_days(published).days == (date(2026, 1, 1),)
    (row,) = (row for row in rows(lake, mended.name) if row["payment_id"] == "P2")
    came = before["a.jsonl:2"]
    assert (row["amount"], row["_source"], row["_extracted_at"]) == (
        Decimal("12.30"),
        "a.jsonl:2",
        came["extracted_at"],
    )
    assert row["_run_key"] == f"replay-{came['reject_id']}"
    after = {str(row["source"]): row for row in rows(lake, QUARANTINE)}
    assert (after["a.jsonl:2"]["state"], after["a.jsonl:2"]["state_by"]) == ("replayed", "replay")
    assert states(lake) == {"a.jsonl:2": "replayed", "a.jsonl:3": "open", "a.jsonl:4": "open", "a.jsonl:5": "open"}
    # What is wrong with the others is said as it is now.
    assert json.loads(str(before["a.jsonl:3"]["broken_rules"])) == ["payment_id_not_null", "large"]
    assert json.loads(str(after["a.jsonl:3"]["broken_rules"])) == ["payment_id_not_null"]
    assert after["a.jsonl:3"]["error"] == "payment_id is missing"
    assert after["a.jsonl:4"] == before["a.jsonl:4"]

    again = replay(landing, lake, mended, run_id="again")
    assert (again.tried, again.entered, again.commit, ids(lake, mended)) == (3, 0, None, ["P1", "P2"])
    assert quarantined(lake, mended).observed == "3 rows in quarantine.shop_payments (3 open)"


def test_only_the_records_of_a_rule_are_tried(landing: Settings, lake: Lake, strict: Table, mended: Table) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "1"), paid(None, "200"))
    load(landing, lake, strict, run_id="load")
    lenient = replace(mended, columns=tuple(replace(column, required=False) for column in mended.columns))
    assert replay(landing, lake, lenient, run_id="replay", rule="payment_id_not_null").entered == 1
    assert states(lake) == {"a.jsonl:2": "open", "a.jsonl:3": "replayed"}


def test_values_without_a_text_of_their_own_are_replayed_from_what_was_kept(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    as_csv = replace(strict, load=LoadPolicy("landing", {"files": "*.csv"}, 1.0))
    (landing.state / "landing" / "a.csv").write_text(
        'payment_id,amount,paid_at\nP1,12.50,2026-01-01T10:00:00+01:00\n"P,2",300,\nP3,1\n'
    )
    load(landing, lake, as_csv, run_id="load")
    result = replay(landing, lake, replace(as_csv, rules=()), run_id="replay")
    assert (result.tried, result.entered, ids(lake, mended)) == (2, 1, ["P,2", "P1"])
    assert states(lake) == {"a.csv:2": "replayed", "a.csv:4": "open"}
    (kept,) = (row for row in rows(lake, QUARANTINE) if row["state"] == "open")
    assert str(kept["error"]).startswith("2 fields where the header has 3 (line 4")


def test_a_record_that_was_cut_stays_and_says_so(landing: Settings, lake: Lake, strict: Table, mended: Table) -> None:
    long = paid("P1", "1") | {"note": "é" * 40_000}
    write(landing, "a.jsonl", json.dumps(long, ensure_ascii=False))
    load(landing, lake, strict, run_id="load")
    (kept,) = rows(lake, QUARANTINE)
    size = len(json.dumps(long, ensure_ascii=False).encode())
    assert (kept["payload_bytes"], len(str(kept["payload"]).encode()) in {65_535, 65_536}) == (size, True)
    result = replay(landing, lake, mended, run_id="replay")
    assert (result.tried, result.entered) == (1, 0)
    (after,) = rows(lake, QUARANTINE)
    assert after["error"] == f"only the first of its {size:,} bytes are kept"
    assert after["broken_rules"] == kept["broken_rules"]


def test_bytes_that_are_no_text_are_kept(landing: Settings, lake: Lake, strict: Table) -> None:
    (landing.state / "landing" / "a.jsonl").write_bytes(b'{"payment_id": "a\\\xff"}\n')
    load(landing, lake, strict, run_id="load")
    (kept,) = rows(lake, QUARANTINE)
    assert kept["payload_raw"] == b'{"payment_id": "a\\\xff"}\n'
    assert replay(landing, lake, strict, run_id="replay").entered == 0


def test_a_held_record_is_open_when_its_load_goes_through_without_it(
    landing: Settings, lake: Lake, strict: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "1"))
    with pytest.raises(LoadRejected):
        load(landing, lake, limited(strict, 0.1), run_id="1")
    assert states(lake) == {"a.jsonl:2": "held"}
    assert replay(landing, lake, replace(strict, rules=()), run_id="replay").tried == 0
    load(landing, lake, strict, run_id="2")
    assert (states(lake), ids(lake, strict)) == ({"a.jsonl:2": "open"}, ["P1"])


def test_a_held_record_that_its_load_brings_is_never_replayed(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "1"), paid(None, "1"))
    with pytest.raises(LoadRejected):
        load(landing, lake, limited(strict, 0.1), run_id="1")
    load(landing, lake, mended, run_id="2")
    assert states(lake) == {"a.jsonl:2": "loaded", "a.jsonl:3": "open"}
    assert replay(landing, lake, mended, run_id="replay").entered == 0
    assert ids(lake, mended) == ["P1", "P2"]
    # The same lines once more, under the old contract: what waits again is open again.
    write(landing, "a.jsonl", paid("P1", "201"), paid("P2", "1"), paid(None, "1"), paid("P3", "300"))
    load(landing, lake, strict, run_id="3")
    assert states(lake) == {"a.jsonl:2": "open", "a.jsonl:3": "open"}


def test_a_row_that_a_load_has_brought_since_is_not_brought_again(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "1"))
    load(landing, lake, strict, run_id="1")
    # Delivered again with another beginning: the file is read anew, under the mended contract.
    write(landing, "a.jsonl", paid("P1", "201"), paid("P2", "1"), paid("P3", "2"))
    load(landing, lake, mended, run_id="2")
    result = replay(landing, lake, mended, run_id="replay")
    assert (result.tried, result.entered, result.there, states(lake)) == (1, 0, 1, {"a.jsonl:2": "loaded"})
    assert ids(lake, mended) == ["P1", "P1", "P2", "P3"]


def test_a_restore_that_takes_a_replay_back_opens_its_records_again(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "1"))
    load(landing, lake, strict, run_id="load")
    lake.table(strict.name).tag("before")
    replay(landing, lake, mended, run_id="replay")
    write(landing, "b.jsonl", paid("P3", "1"))
    load(landing, lake, strict, run_id="load")
    assert states(lake) == {"a.jsonl:2": "replayed", "b.jsonl:1": "open"}
    stored = lake.table(strict.name)
    stored.restore(stored.plan_restore(to="before"))
    assert ids(lake, strict) == ["P1"]
    load(landing, lake, mended, run_id="load")
    assert states(lake) == {"a.jsonl:2": "open", "b.jsonl:1": "open"}
    result = replay(landing, lake, mended, run_id="replay")
    assert (result.entered, result.there) == (1, 1)
    assert ids(lake, mended) == ["P1", "P2", "P3"]


def test_what_was_discarded_is_not_replayed(landing: Settings, lake: Lake, strict: Table, mended: Table) -> None:
    write(landing, "a.jsonl", paid("P1", "1"), paid("P2", "2"), paid(None, "200"))
    load(landing, lake, strict, run_id="load")
    by_source = {str(row["source"]): str(row["reject_id"]) for row in rows(lake, QUARANTINE)}
    first = by_source["a.jsonl:1"][:12]
    assert discard(landing, lake, strict, ids=[first], why="a test", run_id="me", dry_run=True) == 1
    assert set(states(lake).values()) == {"open"}
    assert discard(landing, lake, strict, ids=[first], why="a test", run_id="me") == 1
    assert discard(landing, lake, strict, rule="payment_id_not_null", why="no id", run_id="me") == 1
    with pytest.raises(SettingsError, match=r"is not open.*found discarded"):
        discard(landing, lake, strict, ids=[first], why="again", run_id="me")
    with pytest.raises(SettingsError, match=r"'' names 3 records"):
        discard(landing, lake, strict, ids=[""], why="all", run_id="me")
    assert replay(landing, lake, mended, run_id="replay").entered == 1
    assert (ids(lake, mended), quarantined(lake, mended).passed) == (["P2"], True)
    (gone,) = (row for row in rows(lake, QUARANTINE) if row["source"] == "a.jsonl:1")
    assert (gone["state"], gone["why"], gone["state_by"]) == ("discarded", "a test", "me")
    # Delivered again with another end, it is known, and stays discarded.
    write(landing, "a.jsonl", paid("P1", "1"), paid("P2", "2"), paid("P4", "300"))
    result = load(landing, lake, strict, run_id="load")
    assert (result.rows_quarantined, result.rows_seen) == (0, 2)
    assert states(lake)["a.jsonl:1"] == "discarded"


def test_a_rule_of_the_whole_table_holds_a_replay_back(
    landing: Settings, lake: Lake, strict: Table, mended: Table
) -> None:
    none = Bound(Comparison.EQUAL, (0,))
    query = {"query": "select count(*) from {object} where amount < 1", "bound": none}
    tiny = TableRule("none_tiny", TableRuleKind.SQL, arguments=query)
    write(landing, "a.jsonl", paid("P1", "200"), paid("P2", "0.50"))
    load(landing, lake, strict, run_id="load")
    guarded = replace(mended, table_rules=(tiny,))

    def gate(table: Table) -> Gate:
        return Gate(landing, lake, Declarations([table]))

    for _ in range(2):
        held = replay(landing, lake, guarded, run_id="replay", gate=gate(guarded))
        assert held.held is not None
        assert (ids(lake, strict), states(lake)) == (["P1"], {"a.jsonl:2": "open"})
    (branch,) = lake.table(strict.name).branches()
    assert branch.startswith("load/replay-")
    assert replay(landing, lake, mended, run_id="replay", gate=gate(mended)).entered == 1
    assert (ids(lake, strict), states(lake)) == (["P1", "P2"], {"a.jsonl:2": "replayed"})
