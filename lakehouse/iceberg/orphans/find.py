"""Looking for files that nothing names without touching them. How it is done is `sweep.py`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from lakehouse.iceberg.lake import Lake
from lakehouse.iceberg.orphans.sweep import Orphan
from lakehouse.storage import Store
from lakehouse.tables import TableName


def find_orphans(
    lake: Lake, name: TableName, store: Store, *, older_than: timedelta, now: datetime
) -> Iterator[Orphan]:
    """The files in a table's folders that nothing names and that are at least so old, in no order.

    `store` holds the warehouse: `open_store(settings, settings.warehouse)`. Raises TableMissing, and what `Sweep` and
    `Sweep.find` raise.
    """
    return lake.table(name).sweep(store).find(older_than=older_than, now=now)
