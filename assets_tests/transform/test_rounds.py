"""A build whose main moves meanwhile: built again from what main is by then, and left on its branch in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, LakeTable, read_by
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.transform.events import ModelFinished, TestFinished
from lakehouse.transform.project import parse
from lakehouse.transform.rounds import ROUNDS, Rounds

PRODUCTS, ORDERS, FACTS, REVENUE = (
    TableName.parse(name) for name in ("silver.products", "silver.orders", "gold.fct_orders", "gold.daily_revenue")
)
BRANCH = "run/x"


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    copy_project: Callable[[Path], Settings],
    fill_bronze: Callable[[Settings], Lake],
) -> tuple[Settings, Lake]:
    settings = copy_project(tmp_path_factory.mktemp("project"))
    parse(settings)
    return settings, fill_bronze(settings)


class Disturbed:
    """Rounds during which another writer moves main of a table, as often as it is asked to."""

    def __init__(self, shop: tuple[Settings, Lake], name: TableName, times: int, key: str) -> None:
        settings, self.lake = shop
        self.name, self.times, self.key = name, times, key
        gate = Gate(settings, self.lake, read_tables(settings.defs))
        self.rounds = Rounds(
            settings, self.lake, read_tables(settings.defs), branch=BRANCH, run_key=key, window=None, gate=gate
        )
        self.models: list[str] = []
        self.tests = 0

    def run(self, select: list[str]) -> None:
        for event in self.rounds.run(select):
            if isinstance(event, ModelFinished):
                self.models.append(event.name)
                if event.name == str(self.name) and self.times:
                    self.times -= 1
                    rows, key = self.table().schema().empty_table(), f"{self.key}-{self.times}"
                    self.table().append(rows, run_key=key, progress={"other": {"n": self.times}})
            elif isinstance(event, TestFinished):
                self.tests += 1

    def table(self) -> LakeTable:
        return self.lake.table(self.name)


def test_what_main_overtook_is_built_and_audited_again(shop: tuple[Settings, Lake]) -> None:
    build = Disturbed(shop, PRODUCTS, 1, "a")

    build.run(["staging.stg_products", "silver.products"])

    assert build.models == ["staging.stg_products", "silver.products", "silver.products"]
    assert build.tests > 0
    assert build.tests % 2 == 0
    assert (set(build.rounds.published), build.rounds.held, build.rounds.error) == ({PRODUCTS}, {}, None)
    assert build.table().branches() == ()
    assert build.table().stats().rows == 1
    assert build.table().progress("other") == {"n": 0}
    # The run is on main now: to try it again is to do nothing.
    again = Disturbed(shop, PRODUCTS, 0, "a")
    head = build.table().snapshots()[0].id
    again.run(["silver.products"])
    assert again.rounds.published[PRODUCTS].already_done
    assert build.table().snapshots()[0].id == head


def test_after_three_rounds_the_branch_is_kept_and_named(
    shop: tuple[Settings, Lake], load_product: Callable[[Settings, int], None]
) -> None:
    load_product(shop[0], 10)
    build = Disturbed(shop, PRODUCTS, 10, "b")

    build.run(["staging.stg_products", "silver.products"])

    assert build.models.count("silver.products") == ROUNDS
    assert not build.rounds.published
    assert "moved since" in build.rounds.held[PRODUCTS]
    assert build.table().branches() == (BRANCH,)
    build.table().discard(BRANCH)


def test_what_reads_a_table_that_is_built_again_is_built_again_too(shop: tuple[Settings, Lake]) -> None:
    build = Disturbed(shop, ORDERS, 1, "c")

    # The customers and products besides: tests of what is built read them.
    build.run(["+gold.daily_revenue", "+silver.customers", "+silver.products"])

    # The facts read the orders, the revenue reads the facts; no other table has read what was not published.
    again = {str(name) for name in (ORDERS, FACTS, REVENUE)}
    assert {name for name in build.models if build.models.count(name) == 2} == again
    assert len(build.models) == len(set(build.models)) + len(again)
    assert (build.rounds.held, build.rounds.error) == ({}, None)
    assert {ORDERS, FACTS, REVENUE} <= set(build.rounds.published)
    lake = shop[1]
    for name in build.rounds.published:
        assert lake.table(name).branches() == ()
    for child, parent in ((FACTS, ORDERS), (REVENUE, FACTS)):
        assert read_by(lake, child)[parent] == lake.table(parent).snapshots()[0].id
    assert lake.table(ORDERS).progress("other") == {"n": 0}
    assert lake.table(FACTS).stats().rows == 4
