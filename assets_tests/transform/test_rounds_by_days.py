"""One day of a run is bad: the others become visible, of it and of all that reads it, and it can be mended alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.changes.consumed import consumed
from lakehouse.changes.stale import stale_days
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, arrow_schema, read_by
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import ModelFinished
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.manifest import Manifest
from lakehouse.transform.project import parse
from lakehouse.transform.rounds import Rounds

BRONZE, ORDERS, FACTS, REVENUE = (
    TableName.parse(name) for name in ("bronze.orders", "silver.orders", "gold.fct_orders", "gold.daily_revenue")
)
CHAIN = (ORDERS, FACTS, REVENUE)
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)
BOTH = Window.of_days(DAY_1, DAY_2)


class Shop:
    """The shop with both days built, and more loads of bronze at will."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        self.settings, self.lake = settings, lake
        self.declarations: Declarations = read_tables(settings.defs)
        self.loads = 10

    def load(self, table: str, *rows: Mapping[str, Any]) -> None:
        """One more load of a bronze table: rows like its newest one, but for what is given."""
        name = TableName.parse(f"bronze.{table}")
        stored, self.loads = self.lake.table(name), self.loads + 1
        like = stored.scan().read_all().sort_by("_extracted_at").to_pylist()[-1]
        like |= {"_run_key": f"load-{self.loads}", "_source": f"test:{self.loads}"}
        like["_extracted_at"] = like["_extracted_at"].replace(hour=22, minute=self.loads)
        schema = arrow_schema(self.declarations[name].stored_columns)
        stored.append(pa.Table.from_pylist([{**like, **row} for row in rows], schema=schema), run_key=f"l{self.loads}")

    def run(self, key: str, window: Window | None, *select: str) -> tuple[Rounds, list[str]]:
        gate = Gate(self.settings, self.lake, self.declarations)
        rounds = Rounds(
            self.settings, self.lake, self.declarations, branch=f"run/{key}", run_key=key, window=window, gate=gate
        )
        events = rounds.run(select or [str(name) for name in CHAIN])
        return rounds, [event.name for event in events if isinstance(event, ModelFinished)]

    def rows(self, name: TableName, column: str, day: date, at: str = "main") -> list[Any]:
        found = self.lake.table(name).scan(at=at, where=f"order_date = '{day}'").read_all()
        return sorted(found[column].to_pylist())

    def files(self, name: TableName, day: date) -> set[str]:
        return {file.path for file in self.lake.table(name).live_files() if str(day) in file.path}

    def stale(self) -> dict[TableName, list[date]]:
        manifest = Manifest.read(manifest_path(self.settings))
        models = [name for name in manifest.by_table if name.layer.value in {"silver", "gold"}]
        parents = {name: manifest.parents(name) for name in models}
        found = stale_days(self.settings, self.lake, self.declarations, parents)
        return {name: sorted(stale.days) for name, stale in found.items()}


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    copy_project: Callable[[Path], Settings],
    fill_bronze: Callable[[Settings], Lake],
) -> Shop:
    settings = copy_project(tmp_path_factory.mktemp("project"))
    parse(settings)
    shop = Shop(settings, fill_bronze(settings))
    shop.load("order_items", *({"order_item_id": number, "order_id": number} for number in (15, 16, 17)))
    rounds, _ = shop.run("first", BOTH, "+gold.daily_revenue", "+silver.customers", "+silver.products")
    assert (rounds.held, rounds.error) == ({}, None)
    assert {name: rounds.windows.get(name) for name in CHAIN} == dict.fromkeys(CHAIN, (BOTH,))
    return shop


@pytest.fixture(scope="module")
def bad(shop: Shop) -> tuple[Rounds, list[str], set[str]]:
    """A load whose order of the second day breaks a rule of silver; the run of it, and that day's files before."""
    assert shop.stale() == {}
    shop.load(
        "orders",
        {"order_id": 15, "order_date": DAY_1, "created_at": at(DAY_1), "updated_at": at(DAY_1)},
        {"order_id": 16, "order_date": DAY_2, "created_at": at(DAY_2), "updated_at": at(DAY_2), "status": "lost"},
    )
    assert shop.stale()[ORDERS] == [DAY_1, DAY_2]
    before = {path for name in CHAIN for path in shop.files(name, DAY_2)}
    return *shop.run("bad", BOTH), before


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def test_the_good_day_becomes_visible_in_every_table_and_the_bad_one_in_none(
    shop: Shop, bad: tuple[Rounds, list[str], set[str]]
) -> None:
    rounds, models, before = bad
    assert models == [str(name) for name in CHAIN]
    assert rounds.error is None
    assert set(rounds.published) == set(rounds.held) == set(CHAIN)
    assert rounds.windows == dict.fromkeys(CHAIN, (Window.of_days(DAY_1, DAY_1),))
    assert {name: list(days) for name, days in rounds.bad.items()} == {name: [DAY_2] for name in CHAIN}
    assert "of silver.orders failed" in rounds.bad[REVENUE][DAY_2]
    for name in (ORDERS, FACTS):
        assert 15 in shop.rows(name, "order_id", DAY_1)
        assert 16 not in shop.rows(name, "order_id", DAY_2)
        assert 16 in shop.rows(name, "order_id", DAY_2, "run/bad")
    assert shop.rows(REVENUE, "orders", DAY_1) == [3]
    assert {path for name in CHAIN for path in shop.files(name, DAY_2)} == before
    assert {shop.lake.table(name).branches() for name in CHAIN} == {("run/bad",)}


def test_what_was_published_follows_what_main_shows_and_the_bad_day_stays_out_of_date(
    shop: Shop, bad: tuple[Rounds, list[str], set[str]]
) -> None:
    assert bad
    heads = {name: shop.lake.table(name).snapshots()[0] for name in CHAIN}
    for child, parent in ((FACTS, ORDERS), (REVENUE, FACTS)):
        assert read_by(shop.lake, child)[parent] == heads[parent].id
        followed = consumed(shop.lake, child)[parent]
        assert (followed.snapshot_id, followed.pending) == (heads[parent].id, {})
    assert list(consumed(shop.lake, ORDERS)[BRONZE].pending) == [DAY_2]
    assert shop.stale() == {ORDERS: [DAY_2]}


def test_the_bad_day_is_mended_alone(shop: Shop, bad: tuple[Rounds, list[str], set[str]]) -> None:
    assert bad
    others = {path for name in CHAIN for path in shop.files(name, DAY_1)}
    shop.load("orders", {"order_id": 16, "order_date": DAY_2, "updated_at": at(DAY_2), "status": "placed"})

    rounds, _ = shop.run("mended", Window.of_days(DAY_2, DAY_2))

    assert (rounds.held, rounds.bad, rounds.error) == ({}, {}, None)
    assert 16 in shop.rows(FACTS, "order_id", DAY_2)
    assert {path for name in CHAIN for path in shop.files(name, DAY_1)} == others
    assert shop.stale() == {}
