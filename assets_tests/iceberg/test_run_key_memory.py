"""The table property that remembers run keys: what it holds, and how large it may become."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from lakehouse.iceberg.commits.run_keys import KEPT_FOR, MOST, RUN_KEYS, Memory

NOW_MS = 1_800_000_000_000
_KEYS = st.lists(st.tuples(st.integers(0, 2**41), st.integers(0, 2**64 - 1)), max_size=50).map(
    lambda keys: tuple(sorted(set(keys)))
)


@given(st.integers(0, 2**41), st.frozensets(st.integers(0, 2**63 - 1), max_size=4), _KEYS)
def test_a_memory_survives_the_property(floor: int, covered: frozenset[int], keys: tuple[tuple[int, int], ...]) -> None:
    memory = Memory(floor, covered, keys)
    assert _read(memory.encoded()) == memory


@given(_KEYS, st.integers(0, 2**41), st.integers(0, 20))
def test_what_is_pruned_lies_at_or_before_the_floor(keys: tuple[tuple[int, int], ...], now_ms: int, most: int) -> None:
    pruned = Memory(0, frozenset(), keys).pruned(now_ms, most)
    gone = set(keys) - set(pruned.keys)
    assert len(pruned.keys) <= most
    assert all(at <= pruned.floor_ms for at, _ in gone)
    assert all(at >= now_ms - KEPT_FOR / timedelta(milliseconds=1) for at, _ in pruned.keys)


def test_the_property_is_bounded() -> None:
    keys = tuple((NOW_MS + number, number * 2**40) for number in range(3 * MOST))
    assert len(Memory(0, frozenset({1}), keys).pruned(NOW_MS).encoded()) < 50_000


def _read(text: str) -> Memory:
    return Memory.of(
        new_table_metadata(
            Schema(), UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "memory://table", {RUN_KEYS: text}
        )
    )
