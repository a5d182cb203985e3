"""The files of one round are written side by side, and when one cannot be, none is left."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event

import pytest
from pyiceberg.io import FileIO, OutputFile

from assets_tests.iceberg.merge.row_delta import opened
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.errors import StateError
from lakehouse.iceberg import Way


@pytest.mark.parametrize("full_for_deletes", [False, True])
def test_a_disk_that_is_full_for_one_kind_of_files_keeps_none_of_the_other(
    twins: Callable[..., Twin],
    files: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    full_for_deletes: bool,
) -> None:
    """Rows come and others are hidden at once: one kind is under way when the other fails."""
    twin = twins("flat")
    for first in (1, 5):
        twin.append(rows(*((number, 1, "old", 1) for number in range(first, first + 4))))
    before, under_way, io = files(), Event(), type(opened(twin.table).io)
    honest = io.new_output

    def full(self: FileIO, location: str) -> OutputFile:
        if location.endswith("-deletes.parquet") is full_for_deletes:
            assert under_way.wait(60)
            raise OSError(28, "No space left on device")
        under_way.set()
        return honest(self, location)

    monkeypatch.setattr(io, "new_output", full)
    given = rows((1, 1, "new", 2), (5, 1, "new", 2), (9, 1, "new", 2))
    with pytest.raises(StateError, match="disk is full"):
        twin.merge(given, way=Way.MERGE_ON_READ)
    monkeypatch.undo()
    assert files() == before
    assert not twin.differs()
    twin.merge(given, way=Way.MERGE_ON_READ)
    assert not twin.differs()
