"""The tables, rows and places of the tests of `iceberg/`, for the tests of what keeps them up."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from assets_tests.iceberg.conftest import (
    any_lake,
    any_settings,
    day,
    everywhere,
    flat,
    foreign,
    hide_a_row,
    ids,
    named,
    orders,
    place,
    rest_of,
    rows,
    s3_of,
)
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.storage import FolderStore
from lakehouse.storage.open import open_store
from lakehouse.tables import Table

__all__ = [
    "any_lake",
    "any_settings",
    "day",
    "everywhere",
    "flat",
    "foreign",
    "hide_a_row",
    "ids",
    "named",
    "orders",
    "place",
    "rest_of",
    "rows",
    "s3_of",
]


@pytest.fixture
def small(lake: Lake, flat: Table, rows: Callable[..., pa.Table]) -> LakeTable:
    """A table of six small files."""
    table = lake.create(flat)
    for number in range(6):
        table.append(rows([number]), run_key=f"a{number}", progress={"shop": {"w": number}})
    return table


@pytest.fixture
def store(settings: Settings) -> FolderStore:
    """The warehouse."""
    made = open_store(settings, settings.warehouse)
    assert isinstance(made, FolderStore)
    return made


@pytest.fixture
def table(lake: Lake, orders: Table, rows: Callable[..., pa.Table]) -> LakeTable:
    """silver.orders with two rows."""
    made = lake.create(orders)
    made.append(rows([1, 2]), run_key="r")
    return made
