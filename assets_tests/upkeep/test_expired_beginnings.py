"""Branches of which the beginning, or what main did since, has expired: what is not known any more is not guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from lakehouse.errors import PublishConflict
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.storage.open import open_store
from lakehouse.tables import Table, Window


@dataclass
class Expiring:
    """A table of which an expiry leaves two snapshots of each ref."""

    table: LakeTable
    settings: Settings

    def expire(self) -> None:
        store = open_store(self.settings, self.settings.warehouse)
        self.table.expire_snapshots(store, now=datetime.now(UTC) + timedelta(days=1))


@pytest.fixture
def expiring(settings: Settings, lake: Lake, orders: Table) -> Iterator[Expiring]:
    table = lake.create(orders)
    uri = settings.catalog.uri.get_secret_value()
    stock = SqlCatalog(settings.catalog.name, uri=uri, warehouse=settings.warehouse)
    properties = {"history.expire.min-snapshots-to-keep": "2", "history.expire.max-snapshot-age-ms": "1"}
    stock.load_table(orders.name.key).transaction().set_properties(properties).commit_transaction()
    yield Expiring(table, settings)
    stock.engine.dispose()


@pytest.mark.parametrize("branch", ["mine", "run/x"])
def test_windows_that_main_took_do_not_come_a_second_time(
    expiring: Expiring,
    rows: Callable[..., pa.Table],
    ids: Callable[..., list[int]],
    day: Callable[[int], date],
    branch: str,
) -> None:
    """The snapshot that took them says so; it goes with time, before the branch of somebody who is in no hurry."""
    table = expiring.table
    table.append(rows([1], day(1)), run_key="before")
    table.create_branch(branch)
    table.append(pa.concat_tables([rows([2], day(1)), rows([3], day(2))]), run_key="work", branch=branch)
    table.append(rows([4], day(3)), run_key="meanwhile")
    table.publish_windows(branch, [Window.of_days(day(1), day(1))])
    for number in (5, 6):
        table.append(rows([number], day(3)), run_key=f"after {number}")
    expiring.expire()
    with pytest.raises(PublishConflict):
        table.publish(branch, audit=lambda: None)
    with pytest.raises(PublishConflict):
        table.rebase(branch)
    assert ids(table) == [1, 2, 4, 5, 6]
    assert ids(table, branch) == [1, 2, 3]


def test_windows_that_main_took_and_has_dropped_since_do_not_come_back(
    expiring: Expiring, rows: Callable[..., pa.Table], ids: Callable[..., list[int]], day: Callable[[int], date]
) -> None:
    """Main has no file of them any more, and nothing that says it ever had."""
    table = expiring.table
    table.append(rows([1], day(1)), run_key="before")
    table.create_branch("mine")
    table.append(pa.concat_tables([rows([2], day(2)), rows([3], day(3))]), run_key="work", branch="mine")
    table.append(rows([4], day(4)), run_key="meanwhile")
    table.publish_windows("mine", [Window.of_days(day(2), day(2))])
    table.delete(Window.of_days(day(2), day(2)), run_key="a mistake")
    for number in (5, 6):
        table.append(rows([number], day(4)), run_key=f"after {number}")
    expiring.expire()
    with pytest.raises(PublishConflict):
        table.publish("mine", audit=lambda: None)
    with pytest.raises(PublishConflict):
        table.rebase("mine")
    assert ids(table) == [1, 4, 5, 6]


def test_a_branch_on_what_a_restore_took_back_is_still_put_on_top_after_an_expiry(
    expiring: Expiring, rows: Callable[..., pa.Table], ids: Callable[..., list[int]]
) -> None:
    """Main's way is known down to below the branch's beginning: nothing was cut off between them."""
    table = expiring.table
    for number in (1, 2, 3):
        table.append(rows([number]), run_key=f"load {number}")
    table.create_branch("mine")
    table.append(rows([9]), run_key="work", branch="mine")
    table.restore(table.plan_restore(to=table.snapshots()[1].id))
    expiring.expire()
    table.publish("mine", audit=lambda: None)
    assert ids(table) == [1, 2, 9]
