"""The balance of a load: each term counted elsewhere, and what happens when they do not add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest

from assets_tests.ingest.payments import QUARANTINE, ids, paid, rows, write
from lakehouse.contracts import Declarations
from lakehouse.errors import LoadRejected
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest import attempt_load, load, load_findings
from lakehouse.ledger import recorded_loads
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import Layer, LoadPolicy, Table, TableRule, TableRuleKind
from lakehouse.tables.load_check import LoadCheck

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id", "amount"])


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A writer that loses a row of bronze, until it is mended."""
    append = LakeTable.append

    def lose(table: LakeTable, given: Any, **promise: Any) -> Any:  # noqa: ANN401  (as `append` has it)
        if table.name.layer is not Layer.BRONZE:
            return append(table, given, **promise)
        whole: pa.Table = given.read_all()
        return append(table, whole.slice(1), **promise)

    monkeypatch.setattr(LakeTable, "append", lose)
    return lambda: monkeypatch.setattr(LakeTable, "append", append)


def test_a_row_that_was_lost_on_the_way_to_main_is_told_and_refused(
    sources: Settings, lake: Lake, payments: Table, lossy: Callable[[], None]
) -> None:
    write(sources, "a.jsonl", paid("P1"), paid(None), paid("P2"))
    result = attempt_load(sources, lake, payments, run_id="1")
    assert (result.rows_read, result.rows_published, result.rows_quarantined, result.difference) == (3, 1, 1, 1)
    balance = next(one for one in load_findings(lake, payments, result) if one.rule == LoadCheck.BALANCE)
    assert (balance.blocks, balance.observed) == (True, "3 rows read, 2 accounted for")
    (told,) = recorded_loads(lake, limit=9)
    assert told.difference == 1

    write(sources, "b.jsonl", paid("P3"), paid("P4"))
    with pytest.raises(LoadRejected, match=r"expected 2 rows.*found 1 \+ 0 \+ 0.*restore bronze\.payments"):
        load(sources, lake, payments, run_id="2")
    lossy()
    write(sources, "c.jsonl", paid("P5"))
    assert load(sources, lake, payments, run_id="3").difference == 0


def test_a_row_that_was_lost_on_the_way_to_a_branch_is_not_published(
    sources: Settings, lake: Lake, payments: Table, lossy: Callable[[], None]
) -> None:
    unique = TableRule("payment_id_unique", TableRuleKind.UNIQUE, ("payment_id",))
    judged = replace(payments, table_rules=(unique,))
    gate = Gate(sources, lake, Declarations([judged]))
    write(sources, "a.jsonl", paid("P1"), paid("P2"))
    with pytest.raises(LoadRejected, match=r"does not hold what was loaded.*expected 2 rows; found 1"):
        load(sources, lake, judged, run_id="1", gate=gate)
    table = lake.table(payments.name)
    assert (table.stats().rows, table.branches(), table.progress("load")) == (0, (), None)
    lossy()
    # Without a gate, for the loss is what this is about.
    assert load(sources, lake, payments, run_id="2").rows_published == 2


def test_the_quarantine_counts_what_it_was_given_and_what_it_knew(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    write(sources, "a.jsonl", paid("P1"), paid("P2"), paid("P3"), "{", paid(None))
    first = load(sources, lake, payments, run_id="1")
    # The file comes again with another beginning, and one more mistake in it.
    write(sources, "a.jsonl", paid("P0"), paid("P2"), paid("P3"), "{", paid(None), "[")
    second = load(sources, lake, payments, run_id="2")
    assert [(one.rows_quarantined, one.rows_seen, one.difference) for one in (first, second)] == [(2, 0, 0), (1, 2, 0)]
    assert len(rows(lake, QUARANTINE)) == 3


@pytest.mark.parametrize(
    ("policy", "rejected", "read", "too_many"),
    [
        (LoadPolicy("s", {}, 0.05), 5, 100, False),
        (LoadPolicy("s", {}, 0.05), 6, 100, True),
        (LoadPolicy("s", {}, 0.05, 100), 101, 10_000, True),
        (LoadPolicy("s", {}, 0.05, 100), 100, 10_000, False),
        (LoadPolicy("s", {}, 0.05, 100), 6, 100, True),
        (LoadPolicy("s", {}, 1.0, 2), 2, 2, False),
        (LoadPolicy("s", {}, 1.0, 2), 3, 1000, True),
        (LoadPolicy("s", {}, 1.0, 0), 1, 1000, True),
    ],
)
def test_a_limit_is_a_share_a_number_or_both(policy: LoadPolicy, rejected: int, read: int, *, too_many: bool) -> None:
    assert policy.too_many(rejected, read) is too_many


def test_above_so_many_rows_nothing_is_published_and_the_error_says_how_many_may_be(
    sources: Settings, lake: Lake, make_table: MakeTable
) -> None:
    strict = make_table(COLUMNS, required=["payment_id"], reject_limit=0.5, reject_rows=1)
    write(sources, "a.jsonl", *(paid(f"P{n}") for n in range(8)), paid(None), "{")
    with pytest.raises(
        LoadRejected, match=r"expected at most 50\.00% of the rows, and 1 rows \(rejectLimit\).*2 of 10"
    ):
        load(sources, lake, strict, run_id="1")
    assert [row["state"] for row in rows(lake, QUARANTINE)] == ["held", "held"]
    assert lake.table(strict.name).snapshots() == ()
    lenient = replace(strict, load=LoadPolicy("landing", {"files": "*.jsonl"}, 1.0, 2))
    assert load(sources, lake, lenient, run_id="2").rows_published == 8
    assert len(ids(lake, strict)) == 8


def test_what_a_load_knew_of_its_source_is_kept(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "a.jsonl", paid("P1"))
    result = load(sources, lake, payments, run_id="run-1")
    (told,) = recorded_loads(lake, payments.name, limit=1)
    size = (sources.state / "landing" / "a.jsonl").stat().st_size
    assert (told.bytes_read, told.retries, told.lag_seconds, told.reread) == (size, 0, None, None)
    assert (told.run_id, told.position_to, told.position_from) == ("run-1", result.position, None)
    assert timedelta(0) < timedelta(seconds=told.seconds) < timedelta(minutes=10)
