from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import pytest
from click.testing import Result

from lakehouse.errors import SettingsError
from lakehouse.iceberg.query import run_query
from lakehouse.settings import Settings, load_settings

Command = Callable[[Sequence[str]], Result]

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.takings
version: 1.0.0
status: active
description: {purpose: Takings of a day.}
team: {members: [{username: "team:shop"}]}
schema:
  - name: takings
    properties:
      - {name: day, logicalType: date, primaryKey: true, required: true}
      - {name: amount, logicalType: number, physicalType: "decimal(18, 2)", logicalTypeOptions: {minimum: 0}}
customProperties:
  - {property: window, value: {column: day, start: 2026-01-01}}
  - {property: strategy, value: overwrite}
"""
MODEL = """\
select day, sum(amount)::decimal(18, 2) as amount
from {{ ref('stg_sales') }}
where {{ in_window('day') }}
group by day
"""


@pytest.fixture
def shop(command: Command, project: Settings, tmp_path: Path) -> Settings:
    """A project with bronze.sales from a file, its rows not loaded yet, and silver.takings, which is built by days."""
    file = tmp_path / "in" / "sales.csv"
    file.parent.mkdir()
    lines = [f"{n},2026-01-0{1 + n % 4},{n}.50\n" for n in range(8)]
    file.write_text("id,day,amount\n" + "".join(lines))
    assert command(["add", str(file), "--domain", "shop", "--no-run"]).exit_code == 0
    for path, text in (
        (project.defs[0] / "shop" / "silver" / "takings.yaml", CONTRACT),
        (project.dbt[0] / "models" / "shop" / "silver" / "takings.sql", MODEL),
    ):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return load_settings(project.project)


def takings(settings: Settings) -> dict[date, str]:
    found = run_query(settings, "select day, amount::text as amount from silver.takings order by 1")
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))


def test_bronze_and_the_days_asked_for_are_built_in_one_command(command: Command, shop: Settings) -> None:
    days = ["--from", "2026-01-01", "--to", "2026-01-02", "--json"]
    result = command(["run", "bronze.sales", "silver.takings", *days])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [(row["table"], row["rows"], row["failed"]) for row in figures["tables"]] == [
        ("bronze.sales", 8, 0),
        ("silver.takings", 2, 0),
    ]
    assert takings(shop) == {date(2026, 1, 1): "5.00", date(2026, 1, 2): "7.00"}

    assert command(["run", "silver.takings", "--from", "2026-01-04"]).exit_code == 0
    assert takings(shop) == {date(2026, 1, 1): "5.00", date(2026, 1, 2): "7.00", date(2026, 1, 4): "11.00"}


def test_a_check_that_fails_ends_with_1_and_publishes_nothing(command: Command, shop: Settings) -> None:
    model = shop.dbt[0] / "models" / "shop" / "silver" / "takings.sql"
    model.write_text(MODEL.replace("sum(amount)", "-sum(amount)"))
    result = command(["run", "bronze.sales", "silver.takings", "--from", "2026-01-01", "--to", "2026-01-04"])
    assert result.exit_code == 1, result.output
    assert re.search(r"failed +silver\.takings: \w*amount_minimum", result.output), result.output
    assert takings(shop) == {}


def test_wrong_names_and_missing_days_are_named(command: Command, shop: Settings) -> None:
    for arguments, expected in (
        (["silver.taking"], "Did you mean silver.takings"),
        (["takings"], "is not a table name"),
        (["silver.takings"], "is built by days"),
        (["silver.takings", "--from", "2026-01-04", "--to", "2026-01-01"], "lies before"),
    ):
        result = command(["run", *arguments])
        assert isinstance(result.exception, SettingsError), result.output
        assert expected in str(result.exception)
    assert command(["run", "silver.takings", "--from", "4.1.2026"]).exit_code == 2
    assert not (shop.state / "warehouse" / "silver").exists()


def test_add_loads_what_it_adds_and_makes_its_staging_views(
    command: Command, project: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "codes.csv").write_text("code,name\nA,one\nB,two\n")
    (folder / "names.jsonl").write_text('{"id": 1}\n{"id": 2}\n{"id": 3}\n{broken\n' + "".join('{"id": 4}\n' * 36))
    result = command(["add", str(folder), "--domain", "shop", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [(row["table"], row["rows"], row["quarantined"], row["warned"]) for row in figures["tables"]] == [
        ("bronze.codes", 2, 0, 0),
        ("bronze.names", 39, 1, 2),
    ]
    answer = run_query(load_settings(project.project), "select count(*) as n from staging.stg_codes")
    assert answer.to_pylist() == [{"n": 2}]
