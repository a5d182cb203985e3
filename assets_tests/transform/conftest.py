"""A small lake that models can be built over: two days of a shop, with versions and repeated deliveries."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Table, TableName

ROOT = Path(__file__).resolve().parents[2]
DAY_1, DAY_2 = date(2026, 1, 1), date(2026, 1, 2)

Row = dict[str, Any]


def at(day: date, hour: int = 12) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def customer(number: int, **changes: object) -> Row:
    row: Row = {
        "customer_id": number,
        "name": f"Customer {number}",
        "email": f"c{number}@example.com",
        "phone": None,
        "address": "1 Main Street",
        "city": "Berlin",
        "country": "Germany",
        "tier": "basic",
        "created_at": at(DAY_1, 1),
        "updated_at": at(DAY_1, 1),
    }
    return {**row, **changes}


def product(number: int, **changes: object) -> Row:
    row: Row = {
        "product_id": number,
        "name": f"Product {number}",
        "category": "books",
        "price": Decimal("10.00"),
        "created_at": at(DAY_1, 1),
        "updated_at": at(DAY_1, 1),
    }
    return {**row, **changes}


def order(number: int, day: date, **changes: object) -> Row:
    row: Row = {
        "order_id": number,
        "customer_id": 1,
        "order_date": day,
        "status": "placed",
        "currency": "EUR",
        "created_at": at(day),
        "updated_at": at(day),
    }
    return {**row, **changes}


def item(number: int, order_id: int, **changes: object) -> Row:
    row: Row = {
        "order_item_id": number,
        "order_id": order_id,
        "product_id": 1,
        "quantity": 1,
        "unit_price": Decimal("10.00"),
        "discount": Decimal("0.00"),
        "created_at": at(DAY_1),
        "updated_at": at(DAY_1),
    }
    return {**row, **changes}


def payment(number: int, order_id: int, amount: str, **changes: object) -> Row:
    row: Row = {
        "payment_id": f"P{number}",
        "order_id": order_id,
        "amount": Decimal(amount),
        "currency": "EUR",
        "method": "card",
        "paid_at": at(DAY_2),
    }
    return {**row, **changes}


def rate(day: date, currency: str, value: str) -> Row:
    return {"date": day, "currency": currency, "rate_to_eur": Decimal(value)}


BRONZE: dict[str, list[list[Row]]] = {
    # A list of loads; what comes in a later load was extracted later.
    "customers": [
        [customer(1), customer(2)],
        [
            customer(1),  # read twice
            customer(1, tier="plus", updated_at=at(DAY_2, 6)),
            customer(2, updated_at=at(DAY_2, 6)),  # touched, nothing changed
        ],
    ],
    "products": [[product(1)], [product(1, price=Decimal("11.00"), updated_at=at(DAY_2, 6))]],
    "orders": [
        [order(1, DAY_1), order(2, DAY_1, currency="USD", customer_id=2)],
        [
            order(2, DAY_1, currency="USD", customer_id=2, status="cancelled", updated_at=at(DAY_2)),
            order(3, DAY_2, currency="USD"),
            order(4, DAY_2, currency="GBP", customer_id=2),
        ],
    ],
    "order_items": [
        [
            item(1, 1, quantity=3, unit_price=Decimal("3.33"), discount=Decimal("0.15")),  # 8.4915 -> 8.49
            item(2, 1, unit_price=Decimal("0.05"), discount=Decimal("0.50")),  # 0.025 -> 0.03
            item(3, 2),
            item(4, 3, quantity=2),
            item(5, 4),
        ],
        [item(5, 4)],
    ],
    "payments": [
        [payment(1, 1, "5.00"), payment(1, 1, "5.00"), payment(2, 3, "20.00", currency="USD")],
        [payment(1, 1, "6.00"), payment(3, 1, "3.52")],
    ],
    "exchange_rates": [[rate(DAY_1, "USD", "0.900000")], [rate(DAY_1, "USD", "0.910000")]],
}


def fill(lake: Lake, table: Table, rows: Sequence[Row], *, load: int) -> None:
    """One load of a bronze table."""
    extracted = at(DAY_2, 20) + timedelta(minutes=load)
    metadata = {
        "_extracted_at": extracted,
        "_source": f"test:{load}",
        "_run_key": f"load-{load}",
        "_source_version": None,
        "_extra": None,
    }
    content = pa.Table.from_pylist([{**row, **metadata} for row in rows], schema=arrow_schema(table.stored_columns))
    lake.create(table).append(content, run_key=f"load-{load}")


@pytest.fixture(scope="session")
def fill_bronze() -> Callable[[Settings], Lake]:
    """Load every bronze table of the shop from BRONZE."""

    def load(settings: Settings) -> Lake:
        lake, declarations = Lake.open(settings), read_tables(settings.defs)
        for name, loads in BRONZE.items():
            for number, rows in enumerate(loads):
                fill(lake, declarations[TableName.parse(f"bronze.{name}")], rows, load=number)
        return lake

    return load


@pytest.fixture(scope="session")
def load_product() -> Callable[[Settings, int], None]:
    """load_product(settings, 10): one more state of product 1, as of hour 10 of the second day."""

    def load(settings: Settings, hour: int) -> None:
        declared = read_tables(settings.defs)[TableName.parse("bronze.products")]
        state = product(1, price=Decimal(hour), updated_at=at(DAY_2, hour))
        fill(Lake.open(settings), declared, [state], load=hour)

    return load


@pytest.fixture(scope="session")
def copy_project() -> Callable[[Path], Settings]:
    """Make a project of its own with the shop's contracts and models, free to be changed."""

    def copy(folder: Path) -> Settings:
        shutil.copytree(ROOT / "lakehouse" / "defs", folder / "defs")
        shutil.copytree(ROOT / "dbt", folder / "dbt", ignore=shutil.ignore_patterns("_generated", "target", "logs"))
        (folder / "pyproject.toml").write_text('[tool.lakehouse]\ndefs = ["defs"]\ndbt = ["dbt"]\n')
        state = folder / "state"
        state.mkdir()
        return load_settings(folder, state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})

    return copy


@pytest.fixture
def project(tmp_path: Path, copy_project: Callable[[Path], Settings]) -> Settings:
    return copy_project(tmp_path)


@pytest.fixture
def declarations(settings: Settings) -> Declarations:
    return read_tables(settings.defs)
