"""Somebody else acts in the middle of a write: while its rows are asked for, or right before its swap of the catalog.

Answers of the catalog that are lost or wrong belong to the tests that are about them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog


def during(rows: pa.Table, act: Callable[[], object]) -> pa.RecordBatchReader:
    """The rows, with something that another writer does after the write began and before it commits."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield from rows.to_batches()
        act()

    return pa.RecordBatchReader.from_batches(rows.schema, batches())


def before_swap(
    patch: pytest.MonkeyPatch, act: Callable[[], object], number: int = 1, catalog: type[Catalog] = SqlCatalog
) -> None:
    """Act before the swap of this number, counted from now: after what is swapped was planned."""
    honest = catalog.commit_table
    calls = 0

    def late(*arguments: Any) -> object:  # noqa: ANN401  (PyIceberg's own)
        nonlocal calls
        calls += 1
        if calls == number:
            patch.setattr(catalog, "commit_table", honest)
            act()
        return honest(*arguments)

    patch.setattr(catalog, "commit_table", late)


@contextmanager
def swap_overtaken(catalog: type[Catalog], act: Callable[[], object], number: int = 1) -> Iterator[None]:
    """The same for the swaps of a block."""
    with pytest.MonkeyPatch.context() as patch:
        before_swap(patch, act, number, catalog)
        yield
