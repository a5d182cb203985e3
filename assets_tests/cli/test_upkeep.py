"""`lakehouse upkeep` as a user sees it, over a small lake."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ledger import UPKEEP
from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from conftest import Command

DAY = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def small(settings: Settings, lake: Lake) -> LakeTable:
    """silver.products in six small files; silver.customers without rows."""
    declared = read_tables(settings.defs)
    lake.create(declared[TableName.parse("silver.customers")])
    table = lake.create(declared[TableName.parse("silver.products")])
    for number in range(6):
        row = {"product_id": number, "name": "Pen", "category": "office", "price": Decimal("1.50")}
        rows = [{**row, "created_at": DAY, "updated_at": DAY}]
        table.append(pa.Table.from_pylist(rows, schema=table.schema()), run_key=f"r{number}")
    return table


def named(shown: list[dict[str, Any]], table: str = "silver.products") -> dict[str, Any]:
    (found,) = (one for one in shown if one["table"] == table)
    return found


def test_health_shows_every_table(lakehouse: Command, small: LakeTable) -> None:
    ended = lakehouse("upkeep", "health", "--json")
    assert ended.code == 0
    shown = json.loads(ended.out)
    found = named(shown)
    assert (found["files"], found["small_files"], found["rows"], found["snapshots"]) == (6, 6, 6, 6)
    assert found["bytes"] == small.stats().bytes
    assert named(shown, "silver.customers")["files"] == 0
    for word in ("silver.products", "silver.customers", "small", "snapshots"):
        assert word in lakehouse("upkeep", "health").out


@pytest.mark.usefixtures("small")
def test_plan_says_what_would_be_done_and_why(lakehouse: Command) -> None:
    ended = lakehouse("upkeep", "plan", "silver.products", "--json")
    assert ended.code == 0
    (found,) = json.loads(ended.out)
    (group,) = found["groups"]
    assert (len(group["files"]), group["reason"], found["left"], found["nothing"]) == (6, "small files", 0, False)
    assert found["expiry"]["kept"] == {"age": 6}
    ended = lakehouse("upkeep", "plan")
    assert "silver.products: 6 files in 1 group to rewrite: small files" in ended.out
    assert "silver.customers" in ended.out


def test_run_packs_a_table_in_a_run_of_dagster(lakehouse: Command, small: LakeTable, lake: Lake) -> None:
    ended = lakehouse("upkeep", "run", "silver.products", "--json")
    assert ended.code == 0, ended.err
    shown = json.loads(ended.out)
    (found,) = shown["tables"]
    assert (found["before"]["files"], found["after"]["files"]) == (6, 1)
    assert found["outcomes"] == {"compact": "done", "expire": "nothing", "orphans": "nothing"}
    assert (found["refused"], found["troubles"], shown["failures"]) == ([], [], [])
    assert shown["run"].endswith(f"/runs/{found['run_id']}")
    assert small.stats().files == 1
    entries = lake.table(UPKEEP.name).scan().read_all().to_pylist()
    assert {entry["run_id"] for entry in entries} == {found["run_id"]}
    # What it did is said while it is done.
    assert "6 files" in ended.err
    assert "proved equal" in ended.err


def test_a_dry_run_of_all_tables_changes_nothing(lakehouse: Command, small: LakeTable, lake: Lake) -> None:
    ended = lakehouse("upkeep", "run", "--dry-run")
    assert ended.code == 0, ended.err
    for word in ("silver.products", "silver.customers", "nothing to do"):
        assert word in ended.out
    assert "6 files in 1 group to rewrite" in ended.err
    assert small.stats().files == 6
    assert not lake.exists(UPKEEP.name)


def test_one_action_alone_and_one_that_there_is_not(lakehouse: Command, small: LakeTable) -> None:
    ended = lakehouse("upkeep", "run", "silver.products", "--action", "expire", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["tables"][0]["outcomes"] == {"expire": "nothing"}
    assert small.stats().files == 6
    ended = lakehouse("upkeep", "run", "silver.products", "--action", "polish")
    assert ended.code == 2
    assert "polish" in ended.err
    assert "compact, expire, orphans" in ended.err


@pytest.mark.usefixtures("small")
def test_an_action_that_fails_is_an_error(lakehouse: Command, small: LakeTable, settings: Settings) -> None:
    for path in (settings.state / "warehouse" / "silver" / "products" / "data").glob("*.parquet"):
        path.write_bytes(b"no parquet")
    ended = lakehouse("upkeep", "run", "silver.products")
    assert ended.code == 2
    assert "compact" in ended.err
    assert "Traceback" not in ended.err
    assert small.stats().files == 6


@pytest.mark.parametrize("verb", ["health", "plan", "run"])
@pytest.mark.parametrize("name", ["silver.prodcts", "products"])
def test_a_table_that_is_not_there_is_one_sentence(lakehouse: Command, verb: str, name: str) -> None:
    ended = lakehouse("upkeep", verb, name)
    assert ended.code == 2
    assert name in ended.err
    assert "Traceback" not in ended.err
