"""Changes since a snapshot that has expired: told where appends alone followed it, refused where rows were replaced."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pyarrow as pa
import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import SnapshotMissing
from lakehouse.iceberg import Changes, Lake
from lakehouse.iceberg.reads.scan import state_at
from lakehouse.tables import Table, TableName, Window

Foreign = Callable[[TableName], IcebergTable]
Rows = Callable[..., pa.Table]
DAY = date(2026, 1, 1)


@pytest.mark.parametrize("key", [(), ("order_id",)])
def test_replaced_rows_after_an_expired_start_are_not_told_as_new(
    lake: Lake, orders: Table, rows: Rows, foreign: Foreign, key: tuple[str, ...]
) -> None:
    table = lake.create(orders)
    table.append(rows([1, 2]), run_key="a")
    table.overwrite(rows([1, 3]), where=Window.of_days(DAY, DAY), run_key="b")
    other = foreign(orders.name)
    first, second = other.metadata.snapshots
    # As other programs expire: PyIceberg's own also forgets which parent a snapshot had.
    other.metadata = other.metadata.model_copy(update={"snapshots": [second]})
    with pytest.raises(SnapshotMissing, match="expired") as caught:
        Changes(state_at(orders.name, other), first.snapshot_id, key)
    assert "keepSnapshotsDays" in caught.value.remedy
