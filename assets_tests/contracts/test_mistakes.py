"""All mistakes of all contracts at once, each with its file, line and way down."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lakehouse.contracts import read_tables
from lakehouse.contracts.mistakes import Mistake, find_mistakes
from lakehouse.errors import ContractError

GOOD = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.orders
version: 1.0.0
description: {purpose: Things}
team: {members: [{username: team@example.com}]}
schema:
  - name: orders
    properties:
      - name: order_id
        logicalType: integer
        primaryKey: true
      - name: customer_id
        logicalType: integer
        relationships:
          - to: customers.customer_id
      - name: status
        logicalType: string
        quality:
          - {metric: invalidValues, arguments: {validValues: [a, b]}, mustBe: 0}
          - {metric: nullValues, mustBe: 0, severity: warning}
    quality:
      - name: known
        type: sql
        query: select count(*) from {object} anti join silver.customers using (customer_id)
        mustBe: 0
"""
CUSTOMERS = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.customers
version: 1.0.0
description: {purpose: People}
team: {members: [{username: team@example.com}]}
schema:
  - name: customers
    properties:
      - {name: customer_id, logicalType: integer, primaryKey: true}
"""


def write(folder: Path, orders: str = GOOD, customers: str = CUSTOMERS) -> Path:
    (folder / "shop/silver").mkdir(parents=True, exist_ok=True)
    (folder / "shop/silver/orders.yaml").write_text(orders, "utf-8")
    (folder / "shop/silver/customers.yaml").write_text(customers, "utf-8")
    return folder


def places(folder: Path) -> list[tuple[str, int, str]]:
    return [(mistake.file.name, mistake.line, mistake.path) for mistake in find_mistakes([folder])]


def test_right_contracts_have_none(tmp_path: Path) -> None:
    assert find_mistakes([write(tmp_path)]) == ()


def test_every_rule_that_is_wrong_is_listed(tmp_path: Path) -> None:
    wrong = (
        GOOD.replace("invalidValues", "invalidvalues")
        .replace("severity: warning", "severity: fatal")
        .replace("select count(*)", "select count(*")
        .replace("to: customers", "to: customer")
    )
    assert places(write(tmp_path, wrong)) == [
        ("orders.yaml", 16, "schema[0].properties[1].relationships[0].to"),
        ("orders.yaml", 20, "schema[0].properties[2].quality[0].metric"),
        ("orders.yaml", 21, "schema[0].properties[2].quality[1].severity"),
        ("orders.yaml", 25, "schema[0].quality[0].query"),
    ]


def test_every_file_that_is_wrong_is_listed_and_what_hangs_on_it_is_not(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD.replace("logicalType: string", "logicalType: text"))
    write(folder, (folder / "shop/silver/orders.yaml").read_text(), CUSTOMERS.replace("version", "versoin"))
    (folder / "shop/silver/notes.yml").write_text(GOOD)
    assert places(folder) == [
        ("customers.yaml", 4, "versoin"),
        ("notes.yml", 1, ""),
        ("orders.yaml", 18, "schema[0].properties[2].logicalType"),
    ]


def test_a_broken_contract_does_not_make_others_wrong(tmp_path: Path) -> None:
    broken = CUSTOMERS.replace("logicalType: integer", "logicalType: int")
    query = "from {object} join silver.customers using (customer_id) where tier is null"
    naming = GOOD.replace("from {object} anti join silver.customers using (customer_id)", query)
    assert naming != GOOD
    assert places(write(tmp_path, naming, broken)) == [("customers.yaml", 10, "schema[0].properties[0].logicalType")]


def test_a_column_that_went_is_missed_by_those_that_name_it(tmp_path: Path) -> None:
    renamed = CUSTOMERS.replace("customer_id", "id")
    assert places(write(tmp_path, GOOD, renamed)) == [
        ("orders.yaml", 16, "schema[0].properties[1].relationships[0].to"),
        ("orders.yaml", 25, "schema[0].quality[0].query"),
    ]


def test_a_mistake_says_what_was_expected_and_found(tmp_path: Path) -> None:
    [mistake] = find_mistakes([write(tmp_path, GOOD.replace("logicalType: string", "logicalType: zzz"))])
    assert mistake == Mistake(
        file=tmp_path / "shop/silver/orders.yaml",
        line=18,
        path="schema[0].properties[2].logicalType",
        problem="unknown logical type 'zzz'",
        expected="one of integer, number, string, date, timestamp, time, boolean",
        found=None,
        remedy="Write one of these, or remove it.",
    )


def test_the_way_down_leads_to_what_is_wrong(tmp_path: Path) -> None:
    [mistake] = find_mistakes([write(tmp_path, GOOD.replace("[a, b]", "[a, 7]"))])
    at = yaml.safe_load(mistake.file.read_text())
    for part in mistake.path.replace("[", ".").replace("]", "").split("."):
        at = at[int(part)] if part.isdecimal() else at[part]
    assert at == 7
    assert "7" in mistake.file.read_text().splitlines()[mistake.line - 1]


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("my key", '["my key"]'),
        ("a.b", '["a.b"]'),
        ('"say: \\"x\\""', '["say: \\"x\\""]'),
        ("größe", "größe"),
        ("on-call", "on-call"),
    ],
)
def test_a_key_that_is_no_word_is_quoted_in_the_path(tmp_path: Path, key: str, path: str) -> None:
    [mistake] = find_mistakes([write(tmp_path, f"{key}: 1\n{GOOD}")])
    assert (mistake.line, mistake.path) == (1, path)
    assert mistake.problem.startswith("unknown key ")
    [deeper] = find_mistakes([write(tmp_path, GOOD.replace("{purpose: Things}", f"{{purpose: Things, {key}: 1}}"))])
    assert deeper.path == f"description{path if path[0] == '[' else f'.{path}'}"


def test_the_first_mistake_is_the_one_that_stops_reading(tmp_path: Path) -> None:
    folder = write(tmp_path, GOOD.replace("nullValues", "nulls").replace("invalidValues", "invalid"))
    with pytest.raises(ContractError, match=r"orders\.yaml:20: schema\[0\]\.properties\[2\]\.quality\[0\]\.metric: "):
        read_tables([folder])


def test_a_missing_folder_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = write(tmp_path / "defs", GOOD.replace("nullValues", "nulls"))
    found = find_mistakes([tmp_path / "nowhere", folder])
    assert [(mistake.file.name, mistake.problem) for mistake in found] == [
        ("orders.yaml", "unknown metric 'nulls'"),
        ("nowhere", "no such folder"),
    ]


def test_an_error_without_a_place_is_no_mistake_of_a_contract() -> None:
    with pytest.raises(ValueError, match="without file and line"):
        Mistake.of(ContractError("the catalog is away", remedy="Start it."))
