"""Any merges one after another, by any rules and both ways, among compactions and rows that other programs hide."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.iceberg import Way

ROWS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 3), st.sampled_from(["a", "b", ""]), st.integers(0, 5)), max_size=10
)
MERGES = st.fixed_dictionaries(
    {
        "rows": ROWS,
        "gone": st.lists(st.sampled_from([True, False, None]), min_size=10, max_size=10),
        "key": st.sampled_from([("id",), ("id", "day"), ("name", "day", "id")]),
        "sequence": st.sampled_from([None, "version"]),
        "deleted": st.sampled_from([None, "gone"]),
        "lacks": st.sampled_from([(), ("amount",), ("amount", "name")]),
        "way": st.sampled_from([None, *Way]),
    }
)
STEPS = st.one_of(
    MERGES,
    MERGES,
    ROWS.filter(bool).map(lambda given_rows: {"append": given_rows}),
    st.just({"compact": True}),
    st.integers(0, 1000).map(lambda number: {"hide": number}),
)
_tables = count()


@pytest.mark.parametrize("layout", ["flat", "by day", "by bucket"])
@given(steps=st.lists(STEPS, min_size=2, max_size=6))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_step_makes_what_plain_sql_makes(
    twins: Callable[..., Twin], stock: Callable[[Twin], IcebergTable], layout: str, steps: list[dict[str, Any]]
) -> None:
    twin = twins(layout, f"things_{next(_tables)}")
    for step in steps:
        if "append" in step:
            twin.append(rows(*step["append"]))
        elif "compact" in step:
            compact(twin)
        elif "hide" in step:
            hide_one(twin, step["hide"], stock)
        else:
            merge(twin, step)
        assert not twin.differs()


def merge(twin: Twin, step: dict[str, Any]) -> None:
    """By rules that fit one another: a column of the key comes with the rows.

    All columns come where the table holds a key twice: which of the two rows lends its values, nobody promises.
    """
    lacks = [] if twin.doubled(step["key"]) else [name for name in step["lacks"] if name not in step["key"]]
    came = rows(*step["rows"], gone=step["gone"][: len(step["rows"])])
    came = came.drop_columns(lacks if step["deleted"] else [*lacks, "gone"])
    twin.merge(came, key=step["key"], sequence=step["sequence"], deleted=step["deleted"], way=step["way"])


def compact(twin: Twin) -> None:
    """All files of a partition become one."""
    groups: dict[str, list[str]] = {}
    for file in twin.table.live_files():
        groups.setdefault(str(file.partition), []).append(file.path)
    twin.table.compact(list(groups.values()), connection=twin.duck)


def hide_one(twin: Twin, number: int, stock: Callable[[Twin], IcebergTable]) -> None:
    """Another program hides a row of some file; it may be hidden already."""
    live = twin.table.live_files()
    if live:
        file = live[number % len(live)]
        hide(stock(twin), number % file.rows, of=file.path)
        twin.follow()
