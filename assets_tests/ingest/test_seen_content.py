"""Rows held against bronze by all of their content, as a multiset, as days that are read again are."""

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

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest.seen import comparing
from lakehouse.settings import Settings
from lakehouse.sources import Compare
from lakehouse.tables import Table

MakeTable = Callable[..., Table]
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
    with comparing(sources, table, target, Compare(where=f"_run_key = '{run}'")) as seen:
        assert seen is not None
        fresh = pa.concat_tables([chunks[0].slice(0, 0), *seen.fresh(iter(chunks))])
    was, now = (counted(as_rows(target, some, "any")) for some in (stored, read))
    assert counted(fresh) == now - was
    assert seen.count == (was & now).total()
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
    with comparing(sources, table, target, Compare()) as seen:
        assert seen is not None
        assert pa.concat_tables(seen.fresh(iter([given_rows]))) == given_rows.slice(2)
        assert seen.count == 2
