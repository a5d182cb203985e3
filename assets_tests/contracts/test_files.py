"""Where contracts stand: the path says what table a file is of, and what is no contract is named with its place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from assets_tests.contracts.refused import failure
from lakehouse.contracts import read_tables
from lakehouse.errors import ContractError

SILVER = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.orders
version: 1.0.0
description: {purpose: Orders}
team: {members: [{username: team@example.com}]}
schema:
  - name: orders
    properties:
      - {name: order_id, logicalType: integer, primaryKey: true}
"""


def test_the_text_is_right_where_it_belongs(tmp_path: Path) -> None:
    (tmp_path / "shop/silver").mkdir(parents=True)
    (tmp_path / "shop/silver/orders.yaml").write_text(SILVER)
    assert [str(name) for name in read_tables([tmp_path])] == ["silver.orders"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("shop/platinum/orders.yaml", ["unknown layer 'platinum'", "bronze, silver, gold"]),
        ("shop/ops/orders.yaml", ["unknown layer 'ops'"]),
        ("silver/orders.yaml", ["wrong place", "<domain>/<layer>/<table>.yaml"]),
        ("shop/silver/more/orders.yaml", ["wrong place"]),
        ("orders.yaml", ["wrong place"]),
        ("shop/silver/orders.yml", ["wrong place"]),
        ("shop/silver/Orders.yaml", ["'Orders' is not a name"]),
        ("the shop/silver/orders.yaml", ["'the shop' is not a name"]),
    ],
)
def test_a_file_in_the_wrong_place(tmp_path: Path, place: str, words: list[str]) -> None:
    error = failure(tmp_path, {place: SILVER})
    assert error.what.startswith(f"{tmp_path / place}:1: ")
    for word in words:
        assert word in str(error)


def test_two_contracts_for_one_table_name_both_files(tmp_path: Path) -> None:
    error = failure(tmp_path, {"billing/silver/orders.yaml": SILVER, "shop/silver/orders.yaml": SILVER})
    assert error.what == f"{tmp_path / 'shop/silver/orders.yaml'}:1: a second contract for silver.orders"
    assert str(tmp_path / "billing/silver/orders.yaml") in str(error)


def test_two_folders_are_one_project(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder / "shop/silver").mkdir(parents=True)
        (tmp_path / folder / "shop/silver/orders.yaml").write_text(SILVER)
    with pytest.raises(ContractError, match="a second contract"):
        read_tables([tmp_path / "one", tmp_path / "two"])


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="no such folder"):
        read_tables([tmp_path / "nowhere"])


def test_an_empty_file(tmp_path: Path) -> None:
    error = failure(tmp_path, {"shop/silver/orders.yaml": "# nothing yet\n"})
    assert error.what.endswith("orders.yaml:1: the file is empty")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "shop/silver/orders.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"version: \xff\xfe")
    with pytest.raises(ContractError, match="cannot be read"):
        read_tables([tmp_path])


def test_a_character_that_yaml_has_not(tmp_path: Path) -> None:
    text = SILVER.replace("Orders", "Or\x07ders", 1)
    error = failure(tmp_path, {"shop/silver/orders.yaml": text})
    assert re.search(r"orders\.yaml:\d+: invalid YAML", error.what)
