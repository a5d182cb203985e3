"""`lakehouse contract check` and `diff`: what they list, and how they end: 0 well, 1 findings, 2 error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Command

PRODUCTS = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.products
version: 1.0.0
description: {purpose: Things for sale}
team: {members: [{username: team@example.com}]}
schema:
  - name: products
    properties:
      - {name: product_id, logicalType: integer, primaryKey: true}
      - name: size
        logicalType: string
        quality:
          - {metric: invalidValues, arguments: {validValues: [S, M]}, mustBe: 0}
"""
WIDER = PRODUCTS.replace("[S, M]", "[S, M, L]")


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


@pytest.fixture
def project(lakehouse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001  (its settings come first)
    """A project of one's own with one contract; the command runs in it."""
    folder = tmp_path / "project"
    put(folder / "pyproject.toml", '[tool.lakehouse]\ndefs = ["defs"]\n')
    put(folder / "defs/shop/silver/products.yaml", PRODUCTS)
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(folder))
    monkeypatch.chdir(folder)
    return folder


def test_the_contracts_of_the_shop_compile(lakehouse: Command) -> None:
    assert lakehouse("contract", "check").out == "Every contract compiles.\n"
    ended = lakehouse("contract", "check", "--json")
    assert (ended.code, json.loads(ended.out)) == (0, [])


def test_every_mistake_is_listed_with_a_place_that_editors_open(lakehouse: Command, project: Path) -> None:
    put(project / "defs/shop/silver/products.yaml", PRODUCTS.replace("invalidValues", "invalidvalues"))
    put(project / "defs/shop/gold/sales.yaml", "apiVersion: v3.1.0\n")
    ended = lakehouse("contract", "check")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        "defs/shop/gold/sales.yaml:1: kind: kind must be DataContract",
        "  expected  DataContract",
        "  found     nothing",
        "  Write `kind: DataContract`.",
        "defs/shop/silver/products.yaml:14: schema[0].properties[1].quality[0].metric: unknown metric 'invalidvalues'",
        "  expected  one of nullValues, missingValues, invalidValues, duplicateValues, rowCount",
        "  Did you mean 'invalidValues'?",
    ]


def test_programs_get_the_same(lakehouse: Command, project: Path) -> None:
    path = put(project / "defs/shop/silver/products.yaml", PRODUCTS.replace("mustBe: 0", "mustBe: none"))
    ended = lakehouse("contract", "check", "--json")
    assert ended.code == 1
    [mistake] = json.loads(ended.out)
    assert (mistake["file"], mistake["line"]) == (str(path), 14)
    assert mistake["path"] == "schema[0].properties[1].quality[0].mustBe"
    assert set(mistake) == {"file", "line", "path", "problem", "expected", "found", "remedy"}


def test_files_that_are_named_are_the_ones_judged(lakehouse: Command, project: Path) -> None:
    put(project / "defs/shop/gold/sales.yaml", "apiVersion: v3.1.0\n")
    assert lakehouse("contract", "check", "defs/shop/silver/products.yaml").code == 0
    assert lakehouse("contract", "check", "defs/shop/gold/sales.yaml").code == 1
    for stranger in ("defs/shop/silver/nothing.yaml", "pyproject.toml"):
        ended = lakehouse("contract", "check", stranger)
        assert ended.code == 2
        assert f"{stranger} is no contract of this project" in ended.err


def test_what_breaks_readers_ends_with_1(lakehouse: Command, project: Path) -> None:
    old = put(project / "old.yaml", PRODUCTS)
    new = str(put(project / "defs/shop/silver/products.yaml", WIDER))
    ended = lakehouse("contract", "diff", str(old), new)
    assert (ended.code, ended.err) == (1, "")
    assert [line.split()[:3] for line in ended.out.splitlines()] == [
        ["silver.products"],
        ["breaking", "rule", "size_accepted_values"],
        ["breaking", "version", "changed:"],
    ]
    assert "with L" in ended.out
    ended = lakehouse("contract", "diff", str(old), new, "--json")
    first = json.loads(ended.out)[0]
    assert (ended.code, first["table"], first["move"], first["breaking"]) == (1, "silver.products", "widened", True)
    assert first["reason"]


def test_what_fits_ends_with_0(lakehouse: Command, project: Path) -> None:
    old, new = project / "old.yaml", project / "defs/shop/silver/products.yaml"
    put(old, WIDER)
    ended = lakehouse("contract", "diff", str(old), str(new))
    assert ended.code == 0
    assert ended.out.splitlines()[1].split()[0] == "compatible"
    put(old, PRODUCTS)
    assert lakehouse("contract", "diff", str(old), str(new)).out == "Nothing differs.\n"
    assert json.loads(lakehouse("contract", "diff", str(old), str(new), "--json").out) == []


def test_folders_are_compared_table_by_table(lakehouse: Command, project: Path) -> None:
    old = project / "before"
    put(old / "shop/silver/products.yaml", PRODUCTS)
    put(old / "shop/silver/sizes.yaml", PRODUCTS.replace("products", "sizes"))
    put(project / "defs/shop/gold/products.yaml", PRODUCTS.replace("silver", "gold"))
    ended = lakehouse("contract", "diff", str(old), "defs", "--json")
    assert ended.code == 1
    assert [(one["table"], one["move"], one["breaking"]) for one in json.loads(ended.out)] == [
        ("gold.products", "added", False),
        ("silver.sizes", "removed", True),
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("old.yaml", "new.yaml", "nothing says which layer"),
        ("old.yaml", "defs", "a file and a folder"),
        ("gone.yaml", "defs/shop/silver/products.yaml", "no such file"),
        ("broken.yaml", "defs/shop/silver/products.yaml", "broken.yaml:14: schema[0].properties[1].quality[0].metric"),
    ],
)
def test_what_cannot_be_compared_ends_with_2(lakehouse: Command, project: Path, old: str, new: str, words: str) -> None:
    put(project / "old.yaml", PRODUCTS)
    put(project / "new.yaml", PRODUCTS)
    put(project / "broken.yaml", PRODUCTS.replace("invalidValues", "invalidvalues"))
    ended = lakehouse("contract", "diff", old, new)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_the_help_says_how_to_get_an_earlier_version(lakehouse: Command) -> None:
    assert "git show" in " ".join(lakehouse("contract", "diff", "--help").out.split())
