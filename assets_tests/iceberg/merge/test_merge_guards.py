"""Guards of a merge that mostly stand together with a second one: each where it stands alone."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from pyiceberg.table import Table as IcebergTable

from assets_tests.iceberg.foreign_deletes import hide
from assets_tests.iceberg.merge.twin import Twin, rows
from lakehouse.iceberg import Way
from lakehouse.iceberg.merge import keys


@pytest.mark.parametrize("way", Way)
def test_a_row_of_ours_that_another_hides_is_new(
    twins: Callable[..., Twin],
    between: Callable[..., None],
    stock: Callable[[Twin], IcebergTable],
    way: Way,
) -> None:
    """The file is still there and holds none of our keys any more; what it hides is not what it did."""
    twin = twins("by day")
    twin.append(rows(*((number, 1, "old", 10) for number in range(4))))
    between(lambda: (hide(stock(twin), 2), twin.follow()))
    commit = twin.merge(rows((2, 1, "ours", 2)), way=way)
    assert not twin.differs()
    told = json.loads(twin.table.snapshots()[0].summary["lakehouse.merge"])
    assert (commit.operation, told["rounds"], told["inserted"], told["updated"]) == ("append", 2, 1, 0)


def test_no_key_is_lost_between_spans_of_keys(twins: Callable[..., Twin], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more keys than are kept one by one, spans of several are: each file has one key of them."""
    monkeypatch.setattr(keys, "_MOST_SPANS", 1)
    twin = twins("flat")
    numbers = range(0, 70, 10)
    for number in numbers:
        twin.append(rows((number, 1, "old", 1)))
    commit = twin.merge(rows(*((number, 1, "new", 2) for number in numbers)))
    assert not twin.differs()
    assert commit.rows_removed == len(numbers)
