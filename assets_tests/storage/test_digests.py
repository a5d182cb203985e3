"""A set of paths that forgets none."""

from __future__ import annotations

import os
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from lakehouse.storage.digests import Digests, digest


@given(members=st.sets(st.text(max_size=30)), others=st.sets(st.text(max_size=30)))
def test_it_is_a_set(members: set[str], others: set[str]) -> None:
    made = Digests()
    for text in members:
        made.add(text)
        made.add(text)
    assert all(text in made for text in members)
    assert not any(text in made for text in others - members)


def test_nothing_is_forgotten_when_it_grows() -> None:
    """Beyond the members that it keeps unsorted, several times over."""
    made = Digests()
    for number in range(70_000):
        made.add(f"silver/orders/data/{number}.parquet")
        if number % 9_999 == 0:
            assert all(f"silver/orders/data/{seen}.parquet" in made for seen in range(0, number, 97))
    assert all(f"silver/orders/data/{number}.parquet" in made for number in range(70_000))
    assert not any(f"silver/orders/data/{number}.parquet" in made for number in range(70_000, 140_000))


def test_a_member_takes_few_bytes_however_long_its_path_is() -> None:
    paths = [f"s3://lake/warehouse/silver/orders/data/order_date=2026-01-01/{number:060}" for number in range(40_000)]
    made = Digests()
    tracemalloc.start()
    for path in paths:
        made.add(path)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # Some are unsorted still, and take ten times as much.
    assert held < 64 * len(paths)


def test_names_that_are_no_text_have_digests() -> None:
    assert digest(os.fsdecode(b"\xff")) != digest(os.fsdecode(b"\xfe"))
