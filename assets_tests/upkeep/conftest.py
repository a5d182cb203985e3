"""The tables, rows and places of the tests of `iceberg/`, for the tests of what keeps them up."""

from __future__ import annotations

import pytest

from assets_tests.iceberg.conftest import (
    any_lake,
    any_settings,
    day,
    everywhere,
    flat,
    foreign,
    hide,
    ids,
    named,
    orders,
    place,
    rest_of,
    rows,
    s3_of,
)

__all__ = [
    "any_lake",
    "any_settings",
    "day",
    "everywhere",
    "flat",
    "foreign",
    "hide",
    "ids",
    "named",
    "orders",
    "place",
    "rest_of",
    "rows",
    "s3_of",
]

pytest.register_assert_rewrite("assets_tests.upkeep.machine")
