"""`lakehouse table show` of tables whose rows enter by key: by which columns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Command

CONTRACT = """\
apiVersion: v3.1.0
kind: DataContract
id: shop.silver.things
version: 1.0.0
description: {purpose: Things for sale}
team: {members: [{username: team@example.com}]}
schema:
  - name: things
    properties:
      - {name: version, logicalType: string, primaryKey: true}
      - {name: thing_id, logicalType: integer, required: true}
      - {name: size, logicalType: string}
      - {name: valid_from, logicalType: timestamp, required: true}
      - {name: valid_to, logicalType: timestamp}
customProperties:
"""
# What the contract says, and the facts about it.
SAID: Mapping[str, tuple[str, str, Mapping[str, object]]] = {
    "merge": (
        "merge", "{sequence: valid_from, deleted: gone, lateDays: 7}",
        {"merge key": "version", "sequence": "valid_from", "deleted where": "gone; late rows known for 7 days"},
    ),
    "merge without a sequence": (
        "merge", "{deleted: gone}", {"merge key": "version", "sequence": None, "deleted where": "gone"},
    ),
    "wholes": (
        "delete+insert", "{key: [thing_id]}", {"merge key": "thing_id", "sequence": None, "deleted where": None},
    ),
    "versions": (
        "scd2", "{key: [thing_id]}",
        {
            "history of": "thing_id", "tracked": "all attributes", "valid": "valid_from to valid_to",
            "current where": None, "surrogate key": "version", "deleted where": None, "result": "all of its keys",
        },
    ),
    "changes": (
        "scd2", "{key: [thing_id], tracked: [size], deleted: gone, complete: false}",
        {"tracked": "size", "deleted where": "gone", "result": "changes, late ones for 30 days"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_the_columns_that_rows_enter_by(
    lakehouse: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    strategy, policy, facts = SAID[said]
    name = "history" if strategy == "scd2" else "merge"
    contract = tmp_path / "project" / "defs" / "shop" / "silver" / "things.yaml"
    contract.parent.mkdir(parents=True)
    stated = f"  - {{property: strategy, value: {strategy}}}\n  - {{property: {name}, value: {policy}}}\n"
    contract.write_text(CONTRACT + stated, "utf-8")
    (tmp_path / "project" / "pyproject.toml").write_text('[tool.lakehouse]\ndefs = ["defs"]\n', "utf-8")
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path / "project"))

    shown = json.loads(lakehouse("table", "show", "silver.things", "--json").out)

    assert shown["strategy"] == strategy
    assert {fact: shown[fact] for fact in facts} == facts
    for_people = lakehouse("table", "show", "silver.things").out
    for fact, value in facts.items():
        assert any(line.startswith(fact) and str(value or "") in line for line in for_people.splitlines())
