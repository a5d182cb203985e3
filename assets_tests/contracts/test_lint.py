"""Contracts are the standard's own: its linter passes what stands in the shop and what `lakehouse add` writes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from lakehouse.contracts import render_contract
from lakehouse.tables import Column, Layer, LoadPolicy, TableName

SHOP = sorted((Path(__file__).resolve().parents[2] / "lakehouse" / "defs").rglob("*.yaml"))
Lint = Callable[[Path], list[str]]


@pytest.fixture(scope="module")
def lint() -> Iterator[Lint]:
    """What the linter has against a file. It has the standard's schema with it, and no network."""
    from datacontract.data_contract import DataContract
    from jsonschema.validators import Draft201909Validator

    def refuse(*arguments: object) -> None:
        message = f"the linter reached for the network: {arguments}"
        raise AssertionError(message)

    def run(path: Path) -> list[str]:
        checked = DataContract(data_contract_file=str(path)).lint()
        # The schema of the standard need not be checked again for each file, which is most of the work.
        patch.setattr(Draft201909Validator, "check_schema", lambda *_, **__: None)
        assert checked.checks
        return [str(check.reason) for check in checked.checks if check.result != "passed"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        yield run


@pytest.mark.parametrize("path", SHOP, ids=lambda path: "/".join(path.parts[-2:]))
def test_the_shop_passes(lint: Lint, path: Path) -> None:
    assert lint(path) == []


def test_what_add_writes_passes(lint: Lint, tmp_path: Path) -> None:
    types = ["int", "long", "float", "double", "decimal(12, 2)", "string", "date", "timestamp", "timestamptz"]
    types += ["time", "boolean", "uuid", "binary", "fixed[16]"]
    columns = [Column(f"c{number}", kind, description="A value") for number, kind in enumerate(types)]
    key = Column("id", "long", required=True)
    text = render_contract(
        TableName(Layer.BRONZE, "things"),
        "shop",
        [key, Column("email", "string", personal=True, unique=True), *columns],
        description="Things",
        owners=["team@example.com", "team:things"],
        primary_key=["id"],
        load=LoadPolicy("shop", {"table": "public.things", "watermark": "c8"}, reject_limit=0.1),
        limits={
            "c0": {"logicalTypeOptions": {"minimum": 0, "maximum": 9}},
            "c5": {"quality": [{"metric": "invalidValues", "arguments": {"validValues": ["a", "b"]}, "mustBe": 0}]},
        },
        window=("c6", date(2026, 1, 1)),
        fresh_within=timedelta(hours=36),
    )
    path = tmp_path / "things.yaml"
    path.write_text(text, "utf-8")
    assert lint(path) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("kind: DataContract", "kind: Contract"), ("logicalType: date", "logicalType: day"), ("  - name:", "  - nmae:")],
)
def test_what_is_not_of_the_standard_does_not_pass(lint: Lint, tmp_path: Path, right: str, wrong: str) -> None:
    text = SHOP[0].parents[1].joinpath("silver/orders.yaml").read_text("utf-8")
    assert right in text
    (tmp_path / "orders.yaml").write_text(text.replace(right, wrong), "utf-8")
    assert lint(tmp_path / "orders.yaml")
