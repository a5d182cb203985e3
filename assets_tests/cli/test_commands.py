"""What commands print, for people and for programs, and how they end: 0 well, 1 findings, 2 error."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from lakehouse.cli.app import app
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from conftest import Command

pytestmark = pytest.mark.usefixtures("products")


def test_query_prints_rows_for_people(lakehouse: Command) -> None:
    ended = lakehouse("query", "select name, price from silver.products order by product_id")
    assert (ended.code, ended.err) == (0, "")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["name", "price"]
    assert lines[1] == ["Pen", "1.50"]
    assert lines[-1] == ["3", "rows"]


def test_query_prints_json_for_programs(lakehouse: Command) -> None:
    columns = "product_id, name, price, created_at, null as nothing, sum(product_id) over () as total"
    ended = lakehouse("query", f"select {columns} from silver.products order by 1", "--json")
    assert json.loads(ended.out)[2] == {
        "product_id": 3,
        "name": "Früchtekorb",
        "price": "20.25",
        "created_at": "2026-01-01T00:00:00+00:00",
        "nothing": None,
        "total": 6,
    }
    assert "Früchtekorb" in ended.out


def test_query_prints_csv_that_a_reader_reads(lakehouse: Command) -> None:
    ended = lakehouse("query", "select product_id, name from silver.products order by 1", "--csv")
    assert list(csv.reader(io.StringIO(ended.out))) == [
        ["product_id", "name"],
        ["1", "Pen"],
        ["2", 'Ink, "blue"'],
        ["3", "Früchtekorb"],
    ]


def test_an_empty_table_is_no_error(lakehouse: Command) -> None:
    assert json.loads(lakehouse("query", "from silver.customers", "--json").out) == []
    assert "Nothing there yet." in lakehouse("query", "from silver.customers").out


@pytest.mark.parametrize(
    "sql",
    [
        "delete from silver.products",
        "drop view silver.products",
        "create table t as select 1",
        "insert into silver.products select * from silver.products",
        "copy silver.products to 'products.csv'",
        "attach 'other.db'",
        "install httpfs",
        "set timezone = 'UTC'",
        "select 1; select 2",
        "select 1; drop view silver.products",
        "",
        "/* nothing */",
    ],
)
def test_query_only_reads(lakehouse: Command, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = lakehouse("query", sql)
    assert ended.code == 2
    assert ended.err.startswith("error this SQL does more than read")
    assert ended.out == ""
    assert not (tmp_path / "products.csv").exists()
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("from silver.product", "silver.product"),
        ("select nmae from silver.products", "nmae"),
        ("selct 1", "selct"),
        ("select 1/'x'", "x"),
    ],
)
def test_wrong_sql_is_one_clear_error(lakehouse: Command, sql: str, said: str) -> None:
    ended = lakehouse("query", sql)
    assert ended.code == 2
    assert ended.err.startswith("error the query fails: ")
    assert said in ended.err
    assert "lakehouse table list" in ended.err
    assert "Traceback" not in ended.err


def test_an_explained_query_is_read_too(lakehouse: Command) -> None:
    assert lakehouse("query", "explain select * from silver.products").code == 0


def test_table_list_counts(lakehouse: Command) -> None:
    rows = {row.pop("table"): row for row in json.loads(lakehouse("table", "list", "--json").out)}
    assert set(rows) == {"silver.customers", "silver.products"}
    assert rows["silver.products"]["rows"] == 3
    assert (rows["silver.products"]["files"], rows["silver.products"]["snapshots"]) == (1, 1)
    assert rows["silver.products"]["bytes"] > 0
    assert rows["silver.customers"] == {"rows": 0, "files": 0, "bytes": 0, "snapshots": 0, "last_write": None}
    assert "silver.products" in lakehouse("table", "list").out


def test_table_show_hides_nothing_that_is_derived(lakehouse: Command) -> None:
    facts = json.loads(lakehouse("table", "show", "silver.products", "--json").out)
    assert facts["rows"] == 3
    assert facts["asset"] == "silver/products"
    assert facts["group"] == "shop_silver"
    assert facts["primary key"] == "product_id"
    assert facts["strategy"] == "merge"
    assert facts["dagster partitions"] == "none"
    assert facts["contract"].endswith("defs/shop/silver/products.yaml")
    assert facts["owners"]
    assert facts["fresh within"]
    chain = json.loads(lakehouse("table", "show", "silver.orders", "--json").out)
    assert (chain["daily chain"], chain["dagster partitions"]) == ("order_date from 2026-01-01", "daily")
    assert chain["partitioned by"] == "day(order_date)"
    bronze = json.loads(lakehouse("table", "show", "bronze.payments", "--json").out)
    assert bronze["loaded from"] == "landing: files=payments/*.jsonl"
    assert (bronze["quarantine"], bronze["reject limit"], bronze["strategy"]) == (
        "quarantine.shop_payments",
        "20.00% of the rows",
        "append",
    )


def test_table_show_lists_columns_for_people(lakehouse: Command) -> None:
    shown = lakehouse("table", "show", "bronze.customers").out
    for word in ("email", "_extracted_at", "timestamptz", "customer_id", "personal"):
        assert word in shown


def test_a_table_that_is_not_there_is_named(lakehouse: Command) -> None:
    ended = lakehouse("table", "show", "silver.prodcuts")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error no table silver.prodcuts")
    assert lakehouse("table", "show", "products").err.startswith("error 'products' is not a table name")


def test_settings_show_masks_secrets(lakehouse: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_S3__SECRET_KEY", "hush-hush")
    monkeypatch.setenv("LAKEHOUSE_SOURCES__SHOP__URL", "postgresql://shop:hush-hush@db/shop")
    for arguments in (["settings", "show"], ["settings", "show", "--json"]):
        ended = lakehouse(*arguments)
        assert ended.code == 0
        assert "hush" not in ended.out + ended.err
        assert "****" in ended.out
    shown = json.loads(lakehouse("settings", "show", "--json").out)
    assert (shown["profile"], shown["ui"]["port"]) == ("embedded", 3000)
    assert shown["sources"]["landing"] == {"kind": "files", "root": "landing", "settle": 0}


def test_service_status_starts_nothing(lakehouse: Command, settings: Settings) -> None:
    services = {row["name"]: row for row in json.loads(lakehouse("service", "status", "--json").out)}
    assert {"postgres", "rates"} <= set(services)
    assert not any(row["running"] for row in services.values())
    assert not (settings.state / "postgres" / "location.json").exists()
    assert lakehouse("service", "down").code == 0


def test_check_compiles_contracts_and_models(lakehouse: Command) -> None:
    ended = lakehouse("check", "--json")
    assert ended.code == 0, ended.err
    checked = json.loads(ended.out)
    assert "gold.daily_revenue" in checked["tables"]
    assert Path(checked["manifest"]).is_file()

    tree = json.loads(lakehouse("table", "lineage", "gold.fct_orders.gross_eur", "--json").out)
    ((top, below),) = tree.items()
    assert top == "gold.fct_orders.gross_eur"
    assert "bronze.exchange_rates.rate_to_eur" in json.dumps(below)
    assert "shop: public.order_items . unit_price" in json.dumps(below)
    wrong = lakehouse("table", "lineage", "gold.fct_orders.gros")
    assert wrong.code == 2
    assert "gross_eur" in wrong.err


def test_what_typer_refuses_is_an_error_too(lakehouse: Command) -> None:
    for arguments in (["nonsense"], ["query"], ["demo", "--days", "0"], ["run", "silver.orders", "--from", "soon"]):
        ended = lakehouse(*arguments)
        assert ended.code == 2, arguments
        assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "silver.product"], "Did you mean silver.products?"),
        (["run", "silver.orders"], "silver.orders is built by days"),
        (["run", "silver.orders", "--from", "2026-01-05", "--to", "2026-01-01"], "lies before"),
    ],
)
def test_run_refuses_what_it_cannot_do(lakehouse: Command, arguments: list[str], said: str, settings: Settings) -> None:
    # Nothing of the shop may be needed to say so: its services stay down.
    ended = lakehouse(*arguments)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())
    assert not (settings.state / "postgres" / "location.json").exists()


def test_every_command_explains_itself() -> None:
    tree = typer.main.get_command(app)
    waiting = [("lakehouse", tree)]
    seen = []
    while waiting:
        name, command = waiting.pop()
        seen.append(name)
        assert command.help, name
        waiting += [(f"{name} {child}", one) for child, one in getattr(command, "commands", {}).items()]
        for option in command.params:
            described = getattr(option, "help", None) or option.name in {"help", "context"}
            assert described or option.param_type_name == "argument", (name, option.name)
    bare = {
        "demo",
        "ui",
        "query",
        "add",
        "new",
        "check",
        "run",
        "restore",
        "table",
        "branch",
        "service",
        "settings",
        "contract",
        "quality",
    }
    assert {f"lakehouse {one}" for one in bare} <= set(seen)


def test_help_answers_without_the_heavy_parts() -> None:
    program = (
        "import sys; sys.argv = ['lakehouse', '--help']\n"
        "from lakehouse.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'dagster', 'pyiceberg', 'duckdb', 'dbt', 'pyarrow', 'sqlalchemy', 'boto3'} & set(sys.modules)\n"
        "sys.exit(f'imported {sorted(heavy)}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
