"""Repeats of a branch and of main, put together when main takes some days of the branch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest
from pyiceberg.io import InputFile
from pyiceberg.io.pyarrow import PyArrowFileIO

from assets_tests.iceberg.merge.customers import Customers, of
from lakehouse.errors import CommitConflict
from lakehouse.iceberg import Lake, Way
from lakehouse.tables import Window

BRANCH = "run/b"
FEBRUARY = [Window.of_days(date(2026, 2, 1), date(2026, 2, 28))]


@pytest.fixture
def customers(lake: Lake, duck: duckdb.DuckDBPyConnection) -> Customers:
    """One and the same moment is told on both refs, and two others on one of them each. A third customer is new."""
    made = Customers(lake, duck)
    lake.create(replace(made.declared, window_column="valid_from", window_start=date(2026, 1, 1)))
    made.tell(of(1, "Ada"), of(1, "Bea", number=2))
    made.table.create_branch(BRANCH)
    made.tell(of(5, "Ada"), of(6, "Ada"), of(9, "Zoe", number=3), branch=BRANCH, way=Way.COPY_ON_WRITE)
    made.tell(of(5, "Bea", number=2), of(6, "Ada"))
    assert (made.remembered(BRANCH), made.remembered()) == (2, 2)
    return made


def file(customers: Customers) -> Path:
    """Where main's repeats are."""
    told = json.loads(customers.table.snapshots()[0].summary["lakehouse.tombstones"])
    return Path(told["path"].removeprefix("file://"))


def test_published_windows_bring_the_repeats_of_their_branch(customers: Customers) -> None:
    customers.table.publish_windows(BRANCH, FEBRUARY)
    assert (customers.remembered(), customers.table.branches()) == (3, ())
    customers.tell(of(3, "Ida"), of(3, "Ida", number=2))
    assert customers.right()


def test_a_file_of_repeats_that_was_replaced_before_it_was_read_is_a_conflict(
    customers: Customers, files: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Main is told of one more moment when its file is about to be read, and an expiry removes that."""
    honest, old, seen = PyArrowFileIO.new_input, file(customers), []

    def late(self: PyArrowFileIO, location: str) -> InputFile:
        if location.endswith(old.name):
            monkeypatch.setattr(PyArrowFileIO, "new_input", honest)
            customers.tell(of(7, "Bea", number=2))
            old.unlink()
            seen.append(files())
        return honest(self, location)

    monkeypatch.setattr(PyArrowFileIO, "new_input", late)
    with pytest.raises(CommitConflict, match=r"deleted keys.* on 'main' of gold.customers"):
        customers.table.publish_windows(BRANCH, FEBRUARY)
    assert seen == [files()]
    assert customers.remembered() == 3
    customers.table.publish_windows(BRANCH, FEBRUARY)
    assert customers.remembered() == 4
    customers.tell(of(3, "Ida"), of(3, "Ida", number=2))
    assert customers.right()
