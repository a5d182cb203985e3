"""Somebody writes while a table is being judged: nothing unaudited becomes visible, and nothing visible is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import pyarrow as pa
import pytest

from lakehouse.contracts import read_tables
from lakehouse.errors import CatalogError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.quality.finding import Finding
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import TableName
from lakehouse.transform.events import ModelFinished
from lakehouse.transform.project import parse
from lakehouse.transform.rounds import ROUNDS, Rounds

CUSTOMERS, PRODUCTS = TableName.parse("silver.customers"), TableName.parse("silver.products")
BRANCH = "run/x"

Shop = tuple[Settings, Lake]


@pytest.fixture(scope="module")
def shop(
    tmp_path_factory: pytest.TempPathFactory,
    copy_project: Callable[[Path], Settings],
    fill_bronze: Callable[[Settings], Lake],
) -> Shop:
    """The shop, whose customers are appended and not merged."""
    settings = copy_project(tmp_path_factory.mktemp("project"))
    contract = settings.defs[0] / "shop" / "silver" / "customers.yaml"
    contract.write_text(contract.read_text().replace("value: merge}", "value: append}"))
    model = settings.dbt[0] / "models" / "shop" / "silver" / "customers.sql"
    asked = "where {{ in_changes('customer_id', source('bronze', 'customers')) }}\n"
    assert asked in model.read_text()
    model.write_text(model.read_text().replace(asked, ""))
    parse(settings)
    return settings, fill_bronze(settings)


class Disturbed(Gate):
    """A gate in the middle of whose audit somebody else commits, as often as asked to. Keeps what was judged."""

    def __init__(self, shop: Shop, times: int, write: Callable[[int], None]) -> None:
        super().__init__(*shop, read_tables(shop[0].defs))
        self.times, self.write = times, write
        self.snapshots: list[int | None] = []

    def audit(self, name: TableName, *, at: str = "main", rules: Collection[str] | None = None) -> tuple[Finding, ...]:
        findings = super().audit(name, at=at, rules=rules)
        self.snapshots += dict.fromkeys(finding.snapshot_id for finding in findings)
        if self.times:
            self.times -= 1
            self.write(self.times)
        return findings


def run(shop: Shop, gate: Gate, key: str, *select: str) -> tuple[Rounds, list[str]]:
    """The rounds of a run, and the models that they built."""
    settings, lake = shop
    rounds = Rounds(settings, lake, read_tables(settings.defs), branch=BRANCH, run_key=key, window=None, gate=gate)
    models = [event.name for event in rounds.run(list(select)) if isinstance(event, ModelFinished)]
    return rounds, models


def changed(table: LakeTable, branch: str, column: str, value: object) -> pa.Table:
    """One row of a branch, with another value."""
    row = table.scan(at=branch, limit=1).read_all()
    position = row.schema.get_field_index(column)
    return row.set_column(position, row.schema.field(position), pa.array([value], row.schema.field(position).type))


def values(table: LakeTable, column: str) -> list[object]:
    return sorted(table.scan().read_all()[column].to_pylist())


def history(table: LakeTable) -> list[int]:
    return [snapshot.id for snapshot in table.snapshots()]


def test_main_moves_while_a_table_is_judged(shop: Shop) -> None:
    lake = shop[1]
    others: list[int | None] = []

    def write(number: int) -> None:
        table = lake.table(PRODUCTS)
        rows = table.schema().empty_table()
        others.append(table.append(rows, run_key=f"a-{number}", progress={"other": {"n": 1}}).snapshot_id)

    gate = Disturbed(shop, 1, write)
    rounds, models = run(shop, gate, "a", "staging.stg_products", "silver.products")

    table = lake.table(PRODUCTS)
    assert models == ["staging.stg_products", "silver.products", "silver.products"]
    assert (set(rounds.published), rounds.held, rounds.error) == ({PRODUCTS}, {}, None)
    # Judged, built again, judged again; the second is what readers see, on top of what the other writer had made.
    judged, again = gate.snapshots
    assert history(table)[:2] == [again, *others]
    assert judged not in history(table)
    assert table.progress("other") == {"n": 1}
    assert (values(table, "product_id"), table.branches()) == ([1], ())


def test_the_branch_moves_while_a_table_is_judged(shop: Shop, load_product: Callable[[Settings, int], None]) -> None:
    load_product(shop[0], 10)
    table = shop[1].table(PRODUCTS)
    before = history(table)

    def write(number: int) -> None:
        table.append(changed(table, BRANCH, "product_id", 99), run_key=f"b-{number}", branch=BRANCH)

    gate = Disturbed(shop, 1, write)
    rounds, models = run(shop, gate, "b", "silver.products")

    assert models == ["silver.products"] * 2
    assert (set(rounds.published), rounds.held) == ({PRODUCTS}, {})
    assert history(table) == [gate.snapshots[-1], *before]
    assert (values(table, "product_id"), table.branches()) == ([1], ())


def test_a_branch_that_never_stays_as_it_was_judged_is_kept(
    shop: Shop, load_product: Callable[[Settings, int], None]
) -> None:
    load_product(shop[0], 11)
    table = shop[1].table(PRODUCTS)
    before = history(table)

    def write(number: int) -> None:
        table.append(changed(table, BRANCH, "product_id", 99), run_key=f"c-{number}", branch=BRANCH)

    rounds, models = run(shop, Disturbed(shop, 10, write), "c", "silver.products")

    assert len(models) == ROUNDS
    assert not rounds.published
    assert "unaudited" in rounds.held[PRODUCTS]
    assert (history(table), table.branches()) == (before, (BRANCH,))
    table.discard(BRANCH)


def test_main_moves_while_appends_are_judged(shop: Shop) -> None:
    lake = shop[1]

    def write(number: int) -> None:
        table = lake.table(CUSTOMERS)
        table.append(changed(table, BRANCH, "customer_id", 99), run_key=f"d-{number}")

    gate = Disturbed(shop, 1, write)
    rounds, models = run(shop, gate, "d", "staging.stg_customers", "silver.customers")

    table = lake.table(CUSTOMERS)
    assert models.count("silver.customers") == 1
    assert (set(rounds.published), rounds.held) == ({CUSTOMERS}, {})
    # Put on top of main without being computed again, but not without being judged again.
    assert len(gate.snapshots) == 2
    assert history(table)[0] == gate.snapshots[-1]
    assert values(table, "customer_id") == [1, 2, 99]


def test_appends_that_main_makes_wrong_are_held(shop: Shop) -> None:
    table = shop[1].table(CUSTOMERS)
    before = values(table, "customer_id")

    rounds, _ = run(shop, Gate(*shop, read_tables(shop[0].defs)), "e", "silver.customers")

    # The same customers a second time, beside those of the run before.
    assert "rule customer_id_unique of silver.customers failed" in rounds.held[CUSTOMERS]
    assert (values(table, "customer_id"), table.branches()) == (before, (BRANCH,))
    table.discard(BRANCH)


class Unreachable(Gate):
    """A gate that cannot look at the orders."""

    def audit(self, name: TableName, *, at: str = "main", rules: Collection[str] | None = None) -> tuple[Finding, ...]:
        if name.table == "orders":
            raise CatalogError("the catalog does not answer", remedy="Wait.")
        return super().audit(name, at=at, rules=rules)


def test_a_table_that_cannot_be_judged_is_held_with_the_reason_and_its_children_are_not_built(shop: Shop) -> None:
    lake = shop[1]
    gate = Unreachable(*shop, read_tables(shop[0].defs))

    rounds, _ = run(shop, gate, "f", "staging.stg_orders", "silver.orders", "gold.fct_orders", "gold.dim_date")

    orders = TableName.parse("silver.orders")
    assert "the catalog does not answer" in rounds.held[orders]
    assert set(rounds.published) == {TableName.parse("gold.dim_date")}
    assert lake.table(orders).stats().rows == 0
    assert not lake.exists(TableName.parse("gold.fct_orders"))


def test_by_hand_the_rules_are_tests_of_dbts_and_no_audit_is_asked_for(shop: Shop, tmp_path: Path) -> None:
    run(shop, Gate(*shop, read_tables(shop[0].defs)), "g", "gold.dim_date")
    settings = shop[0]
    (dbt,) = settings.dbt
    said = subprocess.run(
        [sys.executable, "-m", "dbt.cli.main", "test", "--select", "dim_date", "--target-path", str(tmp_path)],
        cwd=dbt,
        env={
            **os.environ,
            "LAKEHOUSE_PROJECT": str(settings.project),
            "LAKEHOUSE_STATE": str(settings.state),
            "LAKEHOUSE_CATALOG__URI": settings.catalog.uri.get_secret_value(),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode == 0, said.stdout
    assert "PASS gold_dim_date_date_day_unique" in said.stdout
    assert "PASS gold_dim_date_audit" in said.stdout
    assert "WARN=0 ERROR=0 SKIP=0" in said.stdout
