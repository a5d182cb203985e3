"""A build whose main moves meanwhile: built again from what main is by then, and left on its branch in the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.transform.events import ModelFinished, TestFinished
from lakehouse.transform.project import parse
from lakehouse.transform.rounds import ROUNDS, Rounds

PRODUCTS, CUSTOMERS, DIM = (
    TableName.parse(name) for name in ("silver.products", "silver.customers", "gold.dim_customer")
)
CHAIN = ["staging.stg_customers", "silver.customers", "gold.dim_customer"]
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
        self.rounds = Rounds(settings, self.lake, branch=BRANCH, run_key=key, window=None)
        self.models: list[str] = []
        self.tests = 0

    def run(self, select: list[str]) -> None:
        for event in self.rounds.run(select):
            if isinstance(event, ModelFinished):
                self.models.append(event.name)
                if event.name == str(self.name) and self.times:
                    self.times -= 1
                    progress = {"other": {"n": self.times}}
                    rows = self.table().schema().empty_table()
                    self.table().append(rows, run_key=f"{self.key}-{self.times}", progress=progress)
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


def test_after_three_rounds_the_branch_is_kept_and_named(shop: tuple[Settings, Lake]) -> None:
    build = Disturbed(shop, PRODUCTS, 10, "b")

    build.run(["staging.stg_products", "silver.products"])

    assert build.models.count("silver.products") == ROUNDS
    assert not build.rounds.published
    assert "moved since" in build.rounds.held[PRODUCTS]
    assert build.table().branches() == (BRANCH,)
    build.table().discard(BRANCH)


def test_a_child_is_built_again_from_what_its_parent_became(shop: tuple[Settings, Lake]) -> None:
    build = Disturbed(shop, CUSTOMERS, 1, "c")

    build.run(CHAIN)

    assert build.models.count("silver.customers") == build.models.count("gold.dim_customer") == 2
    assert set(build.rounds.published) == {CUSTOMERS, DIM}
    assert not build.rounds.held
    lake = shop[1]
    assert lake.table(DIM).stats().rows == 3
    assert lake.table(DIM).branches() == lake.table(CUSTOMERS).branches() == ()
