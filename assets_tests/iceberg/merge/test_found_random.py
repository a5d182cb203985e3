"""Found rows against a search by hand, over random appends, keys, hidden rows and partitionings."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets_tests.iceberg.merge.located import DECLARED, opened, things
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.merge.found import Found
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.selection.plan import plan
from lakehouse.tables import Layer, PartitionField, TableName

Key: TypeAlias = tuple[int, str | None]
Case: TypeAlias = tuple[list[list[Key]], list[Key], list[tuple[int, int]], str | None]
"""The keys of each append, ours, hidden rows as number of the file and position, and the partitioning by order_id."""

_KEYS = st.tuples(st.integers(0, 5), st.sampled_from(["a", "b", None]))
_CASES: st.SearchStrategy[Case] = st.tuples(
    st.lists(st.lists(_KEYS, min_size=1, max_size=6), min_size=1, max_size=3),
    st.lists(_KEYS.filter(lambda key: key[1] is not None), min_size=1, max_size=6, unique=True),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=3),
    st.sampled_from([None, "bucket[2]", "identity"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(_CASES)
def test_found_is_what_a_search_by_hand_finds(
    lake: Lake, duck: duckdb.DuckDBPyConnection, hide: Callable[..., None], case: Case
) -> None:
    """Each file is looked into by itself, as candidates of a later head are."""
    appends, keys, hidden, layout = case
    name = TableName(Layer.SILVER, f"things_{uuid.uuid4().hex[:8]}")
    by = (PartitionField("order_id", layout),) if layout else ()
    table = lake.create(replace(DECLARED, name=name, partition_by=by))
    for number, rows in enumerate(appends):
        given_rows = things([row[0] for row in rows], name=pa.array([row[1] for row in rows], pa.string()))
        table.append(given_rows, run_key=f"{number}")
    paths = sorted(file.path for file in table.live_files())
    gone = {(paths[number % len(paths)], place) for number, place in hidden}
    for path, place in gone:
        hide(opened(table), place, of=path)
    expected = []
    for path in paths:
        read = pq.ParquetFile(path.removeprefix("file://")).read().to_pylist()
        for place, row in enumerate(read):
            if (row["order_id"], row["name"]) in keys and (path, place) not in gone:
                expected.append((path, place, keys.index((row["order_id"], row["name"]))))
    assert found_in(duck, table, keys) == sorted(expected)


def found_in(duck: duckdb.DuckDBPyConnection, table: LakeTable, keys: list[Key]) -> list[tuple[str, int, int]]:
    """Path, position and row of the keys."""
    state, name = opened(table), table.name
    ids = pa.array([key[0] for key in keys], pa.int64())
    rows = pa.table({"order_id": ids, "name": pa.array([key[1] for key in keys], pa.string())})
    rules = Rules.of(name, state.schema(), rows.schema, key=["order_id", "name"])
    with duck.cursor() as cursor, Source(cursor, name, state.schema(), rules, rows) as source:
        found = Found(cursor, Sources(cursor, name, state), name, state, rules)
        for of in plan(state.metadata, state.io, MAIN, source.bounds().on(state.metadata)).touched:
            found.look([of])
        lines = cursor.execute("SELECT file, position, row FROM merge_found").fetchall()
    return sorted((found.files[file].path, *rest) for file, *rest in lines)
