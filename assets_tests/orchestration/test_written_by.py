"""How rows enter a table stands in the metadata of its asset, with the columns that they enter by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse.orchestration.specs import table_spec
from lakehouse.tables import Column, HistoryPolicy, LoadPolicy, MergePolicy, Strategy, Table, TableName

THINGS = Table(
    TableName.parse("silver.things"), "shop", "", (Column("id", "long"),), Path("/defs/shop/silver/things.yaml")
)
KEYS = ("id", "part")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (THINGS, "replace"),
        (replace(THINGS, name=TableName.parse("bronze.things"), load=LoadPolicy("till")), "append (till)"),
        (replace(THINGS, strategy=Strategy.MERGE, merge=MergePolicy(KEYS)), "merge by id, part"),
        (
            replace(THINGS, strategy=Strategy.MERGE, merge=MergePolicy(KEYS, "seen_at", "gone")),
            "merge by id, part, newest seen_at",
        ),
        (replace(THINGS, strategy=Strategy.DELETE_INSERT, merge=MergePolicy(("id",))), "delete+insert by id"),
        (replace(THINGS, strategy=Strategy.SCD2, history=HistoryPolicy(("id",))), "scd2 by id"),
    ],
)
def test_how_rows_enter(table: Table, said: str) -> None:
    assert table_spec(table, (), kind="dbt").metadata["lakehouse/written_by"] == said
