"""A bronze table whose day is derived, in Dagster: what is loaded and judged, and where each column comes from."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pytest

from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake
from lakehouse.orchestration.bronze import bronze_assets
from lakehouse.settings import Catalog, Settings, load_settings
from lakehouse.tables import TableName

ROOT = Path(__file__).parents[2]
RECEIPTS = TableName.parse("bronze.receipts")
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: till.bronze.receipts
version: 1.0.0
status: active
description: {purpose: What the till took.}
team: {members: [{username: till@example.com, role: owner}]}
schema:
  - name: receipts
    properties:
      - {name: number, logicalType: integer, required: true}
      - {name: born_at, logicalType: timestamp, required: true}
      - {name: business_date, logicalType: date, required: true}
customProperties:
  - {property: load, value: {source: till, files: "*.jsonl"}}
  - {property: window, value: {column: business_date, start: 2026-01-01, from: born_at, zone: Australia/Lord_Howe}}
"""


@pytest.fixture
def till(tmp_path: Path) -> Settings:
    (tmp_path / "state" / "till").mkdir(parents=True)
    state = str(tmp_path / "state")
    return load_settings(
        ROOT,
        state=state,
        catalog=Catalog(uri=f"sqlite:///{state}/catalog.db"),
        sources={"till": {"kind": "files", "root": "till", "settle": 0}},
    )


@pytest.fixture
def declarations(tmp_path: Path) -> Declarations:
    file = tmp_path / "defs" / "shop" / "bronze" / "receipts.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(CONTRACT)
    return read_tables([tmp_path / "defs"])


def test_a_derived_day_is_loaded_and_comes_from_its_moment(till: Settings, declarations: Declarations) -> None:
    # At half past one in the afternoon UTC, the day after begins on Lord Howe: in winter, by ten and a half hours.
    moments = ["2026-07-01T13:29:59Z", "2026-07-01T13:30:00Z", "2026-12-31T13:00:00Z"]
    lines = [json.dumps({"number": number, "born_at": at}) for number, at in enumerate(moments)]
    (till.state / "till" / "a.jsonl").write_text("\n".join(lines))
    with dg.DagsterInstance.ephemeral() as instance:
        ran = dg.materialize(bronze_assets(till, declarations), instance=instance)
    rows = Lake.open(till).table(RECEIPTS).scan().read_all().to_pylist()
    assert {row["number"]: str(row["business_date"]) for row in rows} == {
        0: "2026-07-01",
        1: "2026-07-02",
        2: "2027-01-01",
    }
    (event,) = ran.asset_materializations_for_node("bronze__receipts")
    lineage = event.metadata["dagster/column_lineage"].value
    assert isinstance(lineage, dg.TableColumnLineage)
    origins = {name: [one.column_name for one in of] for name, of in lineage.deps_by_column.items()}
    assert origins == {"number": ["number"], "born_at": ["born_at"], "business_date": ["born_at"]}
    assert event.metadata["lakehouse/changed_days"].value == [
        ["2026-07-01", "2026-07-03"],
        ["2027-01-01", "2027-01-02"],
    ]
    assert all(check.passed for check in ran.get_asset_check_evaluations())
