"""The command over a small lake: two silver tables with a few rows, and nothing running."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
import structlog

from lakehouse.cli import main
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings
from lakehouse.tables import TableName

ROOT = Path(__file__).parents[2]
DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def lakehouse(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """Run `lakehouse ...` as its entry point does."""
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(ROOT))
    monkeypatch.setenv("LAKEHOUSE_STATE", str(settings.state))
    monkeypatch.setenv("LAKEHOUSE_CATALOG__URI", settings.catalog.uri.get_secret_value())

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["lakehouse", *arguments])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    yield run
    # The command sends its log to this test's standard error, which is closed by now.
    structlog.reset_defaults()


@pytest.fixture
def products(settings: Settings, lake: Lake) -> None:
    """silver.products with three rows, silver.customers without any."""
    declared = read_tables(settings.defs)
    lake.create(declared[TableName.parse("silver.customers")])
    table = lake.create(declared[TableName.parse("silver.products")])
    rows = [
        {
            "product_id": number,
            "name": name,
            "category": "office",
            "price": Decimal(price),
            "created_at": DAY,
            "updated_at": DAY,
        }
        for number, name, price in ((1, "Pen", "1.50"), (2, 'Ink, "blue"', "4.00"), (3, "Früchtekorb", "20.25"))
    ]
    table.append(pa.Table.from_pylist(rows, schema=table.schema()), run_key="test")
