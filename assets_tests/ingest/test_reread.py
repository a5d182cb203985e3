"""Days, or all of a source, read again: what bronze has is recognised, what it lost comes back, nothing comes twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets_tests.ingest.payments import QUARANTINE, balanced, ids, paid, rows, write
from lakehouse.errors import Fenced, SourceError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest import LoadResult, load
from lakehouse.ingest.known import known_content
from lakehouse.ingest.reading import REREAD_SCOPE, Reading
from lakehouse.ledger import recorded_loads
from lakehouse.settings import Settings
from lakehouse.sources import Chunk, Extract, SourceColumn
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


def test_parts_of_all_of_it_are_held_against_all_of_bronze_until_the_last_one(payments: Table) -> None:
    """As a source that comes in parts leaves it, wherever it is killed between them."""
    at = datetime(2026, 1, 2, tzinfo=UTC)
    chunks: list[Chunk] = []
    part, last = (Extract(iter(chunks), {"part": n}, more=n == 1) for n in (1, 2))
    after = Reading(payments, {"load": {"part": 9}}, at, "1", full=True).after(part, "k")
    assert after["load"] == {"part": 1}
    second = Reading(payments, after, at, "2")
    assert (second.since, second.compared) == ({"part": 1}, "_extracted_at >= '1970-01-01T00:00:00+00:00'")
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


AT = datetime(2026, 1, 1, tzinfo=UTC)
POOL: list[tuple[object, ...]] = [
    (None, None, None, None, None),
    (1, None, None, None, None),
    (1, "", Decimal("1.00"), 0.5, AT),
    (1, "", Decimal("1.00"), float("nan"), AT),
    (1, "a", Decimal("0.10"), None, AT.replace(microsecond=1)),
    (2, "a", Decimal("0.10"), None, AT.replace(microsecond=1)),
]
"""Few rows, so that some come twice."""
VALUES = st.sampled_from(POOL)
TYPES = {"a": "long", "b": "string", "c": "decimal(10, 2)", "d": "double", "e": "timestamptz"}


@pytest.fixture
def things(lake: Lake, make_table: MakeTable) -> tuple[Table, LakeTable]:
    table = make_table(TYPES)
    return table, lake.create(table)


@given(stored=st.lists(VALUES, max_size=6), read=st.lists(VALUES, max_size=8), cut=st.integers(0, 8))
@example(stored=[POOL[2]], read=[POOL[2], POOL[2], POOL[0]], cut=1)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_held_against_main_as_a_multiset_with_null_as_a_value(
    things: tuple[Table, LakeTable],
    sources: Settings,
    stored: list[tuple[object, ...]],
    read: list[tuple[object, ...]],
    cut: int,
) -> None:
    table, target = things
    run = str(len(target.snapshots()))
    target.append(as_rows(target, stored, run), run_key=run)
    chunks = [as_rows(target, some, "new") for some in (read[:cut], read[cut:])]
    with known_content(sources, table, target, where=f"_run_key = '{run}'") as known:
        fresh = pa.concat_tables(known.fresh(iter(chunks))) if read else chunks[0]
    was, now = (counted(as_rows(target, some, "any")) for some in (stored, read))
    assert counted(fresh) == now - was
    assert known.seen == (was & now).total()
    assert fresh.schema == chunks[0].schema


def counted(some: pa.Table) -> Counter[str]:
    # As text: NaN is not equal to itself.
    return Counter(repr(tuple(row.values())) for row in some.select(list(TYPES)).to_pylist())


def as_rows(target: LakeTable, values: list[tuple[object, ...]], run: str) -> pa.Table:
    more = {"_extracted_at": datetime(2026, 1, 1, tzinfo=UTC), "_source": "s", "_run_key": run}
    named = [dict(zip(TYPES, row, strict=True)) | more for row in values]
    return pa.Table.from_pylist(named, schema=target.schema())


def test_uuids_and_bytes_are_compared_too(lake: Lake, sources: Settings, make_table: MakeTable) -> None:
    table = replace(make_table({"id": "uuid", "raw": "binary", "at": "date"}), load=None)
    target = lake.create(table)
    more = {"_extracted_at": datetime(2026, 1, 1, tzinfo=UTC), "_source": "s", "_run_key": "1"}
    values = [{"id": bytes([n] * 16), "raw": bytes([n, 0]), "at": date(2026, 1, n), **more} for n in (1, 2, 3)]
    given_rows = pa.Table.from_pylist(values, schema=target.schema())
    target.append(given_rows.slice(0, 2), run_key="1")
    with known_content(sources, table, target) as known:
        assert pa.concat_tables(known.fresh(iter([given_rows]))) == given_rows.slice(2)
        assert known.seen == 2
