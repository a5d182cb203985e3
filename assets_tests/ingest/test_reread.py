"""Days, or all of a source, read again: what bronze has is recognised, what it lost comes back, nothing comes twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows, write
from lakehouse.errors import Fenced, SourceError
from lakehouse.iceberg import Lake
from lakehouse.ingest import LoadResult, load
from lakehouse.ingest.reading import REREAD_SCOPE, Reading
from lakehouse.ledger import recorded_loads
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Compare, Extract, SourceColumn
from lakehouse.tables import Position, Table, Window

MakeTable = Callable[..., Table]
COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)", "paid_at": "timestamptz"}
FIRST, SECOND = (Window.of_days(date(2026, 1, day), date(2026, 1, day)) for day in (1, 2))


@pytest.fixture
def payments(make_table: MakeTable) -> Table:
    return make_table(COLUMNS, required=["payment_id"])


def counts(result: LoadResult) -> tuple[int, int, int, int]:
    assert balanced(result)
    return result.rows_read, result.rows_published, result.rows_quarantined, result.rows_seen


def test_a_day_read_again_brings_what_was_lost_and_nothing_else(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "2026-01-01.jsonl", paid("P1"), paid("P2", None), paid(None))
    write(sources, "2026-01-02.jsonl", paid("P3"))
    first = load(sources, lake, payments, run_id="1")
    lake.table(payments.name).delete("payment_id = 'P2'", run_key="an accident")

    again = load(sources, lake, payments, run_id="2", window=FIRST)
    assert counts(again) == (3, 1, 0, 2)
    assert ids(lake, payments) == ["P1", "P2", "P3"]
    # The position is the source's own, and does not move.
    assert again.position == first.position == lake.table(payments.name).progress("load")
    assert counts(load(sources, lake, payments, run_id="3", window=FIRST)) == (3, 0, 0, 3)
    assert load(sources, lake, payments, run_id="4").commit is None
    assert len(rows(lake, QUARANTINE)) == 1
    told = [(one.reread, one.rows_published, one.rows_seen) for one in recorded_loads(lake, limit=9)]
    assert told == [("2026-01-01..2026-01-01", 0, 3), ("2026-01-01..2026-01-01", 1, 2), (None, 3, 0)]


def test_a_day_that_no_load_has_read_yet_is_not_doubled_by_the_next_load(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    write(sources, "2026-01-01.jsonl", paid("P1"))
    load(sources, lake, payments, run_id="1")
    write(sources, "2026-01-02.jsonl", paid("P2"), paid("P3"))
    assert counts(load(sources, lake, payments, run_id="2", window=SECOND)) == (2, 2, 0, 0)

    write(sources, "2026-01-03.jsonl", paid("P4"))
    assert counts(load(sources, lake, payments, run_id="3")) == (3, 1, 0, 2)
    assert ids(lake, payments) == ["P1", "P2", "P3", "P4"]
    # From now on nothing has to be compared any more.
    assert lake.table(payments.name).progress(REREAD_SCOPE) == {}
    # The same content, delivered again in another file, is another row then, as it always was.
    write(sources, "2026-01-04.jsonl", paid("P4"))
    assert counts(load(sources, lake, payments, run_id="4")) == (1, 1, 0, 0)


def test_all_of_it_read_again_moves_on_and_doubles_nothing(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "2026-01-01.jsonl", paid("P1"), paid("P2"))
    load(sources, lake, payments, run_id="1")
    lake.table(payments.name).delete("payment_id = 'P1'", run_key="an accident")
    write(sources, "2026-01-02.jsonl", paid("P3"))
    again = load(sources, lake, payments, run_id="2", full=True)
    assert counts(again) == (3, 2, 0, 1)
    assert ids(lake, payments) == ["P1", "P2", "P3"]
    assert load(sources, lake, payments, run_id="3").commit is None
    assert again.position == lake.table(payments.name).progress("load")


def test_days_that_have_nothing_are_no_commit(sources: Settings, lake: Lake, payments: Table) -> None:
    write(sources, "2026-01-01.jsonl", paid("P1"))
    assert load(sources, lake, payments, run_id="1", window=SECOND).commit is None
    assert lake.table(payments.name).snapshots() == ()


@pytest.mark.parametrize("window", [None, FIRST], ids=["a load", "the same days"])
def test_another_load_meanwhile_fences_what_was_compared_before_it(
    sources: Settings, lake: Lake, payments: Table, window: Window | None
) -> None:
    write(sources, "2026-01-01.jsonl", paid("P1"))
    load(sources, lake, payments, run_id="1")
    lake.table(payments.name).delete("payment_id = 'P1'", run_key="an accident")
    write(sources, "2026-01-02.jsonl", paid("P2"))
    faster: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not faster:
            faster.append(load(sources, lake, payments, run_id="faster", window=window))

    with pytest.raises(Fenced):
        load(sources, lake, payments, run_id="slower", window=FIRST, on_progress=meanwhile)
    load(sources, lake, payments, run_id="2")
    load(sources, lake, payments, run_id="3", window=FIRST)
    assert ids(lake, payments) == ["P1", "P2"]


def test_days_read_again_meanwhile_fence_a_load_that_compares_nothing(
    sources: Settings, lake: Lake, payments: Table
) -> None:
    write(sources, "2026-01-02.jsonl", paid("P2"))
    again: list[LoadResult] = []

    def meanwhile(_rows: int, _what: str) -> None:
        if not again:
            again.append(load(sources, lake, payments, run_id="faster", window=SECOND))

    with pytest.raises(Fenced):
        load(sources, lake, payments, run_id="slower", on_progress=meanwhile)
    assert counts(load(sources, lake, payments, run_id="2")) == (1, 0, 0, 1)
    assert ids(lake, payments) == ["P2"]


def test_parts_of_all_of_it_are_held_against_all_of_bronze_until_the_last_one(payments: Table) -> None:
    """As a source that comes in parts leaves it, wherever it is killed between them."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    chunks: list[Chunk] = []
    part, last = (Extract(iter(chunks), {"part": n}, more=n == 1) for n in (1, 2))
    after = Reading(payments, {"load": {"part": 9}}, at, "1", full=True).after(part, "k")
    assert after["load"] == {"part": 1}
    second = Reading(payments, after, at, "2")
    everything = Compare(where="_extracted_at >= '1970-01-01T00:00:00+00:00'")
    assert (second.since, second.compare) == ({"part": 1}, everything)
    assert second.after(part, "l") == {"load": {"part": 1}}
    assert second.after(last, "l") == {"load": {"part": 2}, REREAD_SCOPE: {}}


class Endless:
    """A source that knows no days."""

    def read(self, _since: Position | None) -> Extract | None:
        return None

    def pending(self, _since: Position | None) -> bool:
        return False

    def columns(self) -> tuple[SourceColumn, ...]:
        return ()


def test_a_source_that_knows_no_days_says_what_to_do(payments: Table) -> None:
    asked = Reading(payments, {}, datetime.now(UTC), "1", window=FIRST)
    with pytest.raises(SourceError, match=r"cannot be asked for days again.*bronze\.payments --full"):
        asked.extract(Endless())
