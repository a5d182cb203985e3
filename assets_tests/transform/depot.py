"""A small project whose models enter their tables by key: parcels, where each is, all its stays, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets_tests.projects import head, write
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window
from lakehouse.transform.events import ModelFinished
from lakehouse.transform.project import parse
from lakehouse.transform.rounds import Rounds

BRONZE = TableName.parse("bronze.scans")
PARCELS, STAYS, HISTORY = (TableName.parse(name) for name in ("silver.parcels", "silver.stays", "gold.parcels_then"))
MODELS = ("silver.parcels", "silver.stays", "gold.parcels_then")

_PARCEL = "      - {name: parcel, logicalType: integer, primaryKey: true, required: true, description: Its number}\n"
_PLACE = "      - {name: place, logicalType: string, description: Where it was seen}\n"
_SEEN = "      - {name: seen, logicalType: timestamp, required: true, description: When it was}\n"
_LOST = "      - {name: lost, logicalType: boolean, description: Whether it is gone}\n"


def _head(layer: str, name: str) -> str:
    return head("depot", layer, name, "What a depot sees.")


FILES = {
    "defs/depot/bronze/scans.yaml": _head("bronze", "scans")
    + _PARCEL.replace("primaryKey: true, ", "")
    + _PLACE
    + _SEEN
    + _LOST
    + 'customProperties:\n  - {property: load, value: {source: landing, files: "*.jsonl"}}\n',
    "defs/depot/silver/parcels.yaml": _head("silver", "parcels") + _PARCEL + _PLACE + _SEEN + "customProperties:\n"
    "  - {property: strategy, value: merge}\n"
    "  - {property: merge, value: {sequence: seen, deleted: lost}}\n",
    "dbt/models/depot/silver/parcels.sql": "select parcel, place, seen, lost from {{ source('bronze', 'scans') }}\n"
    "where {{ in_changes('parcel', source('bronze', 'scans')) }}\n"
    "qualify row_number() over (partition by parcel order by seen desc) = 1\n",
    "defs/depot/silver/stays.yaml": _head("silver", "stays")
    + _PARCEL.replace("primaryKey: true,", "primaryKey: true, primaryKeyPosition: 1,")
    + _PLACE
    + _SEEN.replace("timestamp,", "timestamp, primaryKey: true, primaryKeyPosition: 2,")
    + "customProperties:\n"
    "  - {property: strategy, value: delete+insert}\n"
    "  - {property: merge, value: {key: [parcel]}}\n",
    "dbt/models/depot/silver/stays.sql": "select scans.parcel, scans.place, scans.seen\n"
    "from {{ source('bronze', 'scans') }} as scans\n"
    "where {{ in_changes(['scans.parcel'], source('bronze', 'scans')) }}\n",
    "defs/depot/gold/parcels_then.yaml": _head("gold", "parcels_then")
    + "      - {name: version, logicalType: string, primaryKey: true, required: true, description: Its version}\n"
    + _PARCEL.replace("primaryKey: true, ", "")
    + _PLACE
    + _SEEN.replace("seen", "valid_from")
    + _SEEN.replace("seen", "valid_to").replace("required: true, ", "")
    + "customProperties:\n"
    "  - {property: strategy, value: scd2}\n"
    "  - {property: history, value: {key: [parcel], deleted: lost, complete: true}}\n",
    "dbt/models/depot/gold/parcels_then.sql": "select parcel, place, seen as valid_from, place is null as lost\n"
    "from {{ ref('stays') }} where {{ in_changes('parcel', ref('stays')) }}\n",
    "dbt/models/depot/unit_tests.yml": """\
version: 2
unit_tests:
  - name: the_latest_scan_of_every_parcel
    model: parcels
    given:
      - input: source('bronze', 'scans')
        rows:
          - {parcel: 1, place: a, seen: 2026-01-01 00:00:00+00}
          - {parcel: 1, place: b, seen: 2026-01-02 00:00:00+00}
          - {parcel: 2, place: a, seen: 2026-01-01 00:00:00+00}
    expect:
      rows:
        - {parcel: 1, place: b}
        - {parcel: 2, place: a}
""",
}


def hour(number: int) -> datetime:
    return datetime(2026, 1, 1, number, tzinfo=UTC)


@dataclass
class Depot:
    """The project, in a folder of its own, with a catalog of its own."""

    settings: Settings
    loads: count[int] = field(default_factory=count)

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    @property
    def declarations(self) -> Declarations:
        return read_tables(self.settings.defs)

    def scan(self, *scans: tuple[int, str | None, int]) -> None:
        """Append scans: parcel, place (None: lost), hour."""
        load = next(self.loads)
        loaded = {"_extracted_at": hour(load % 24), "_source": "test", "_run_key": f"load-{load}"}
        rows = [
            {"parcel": parcel, "place": place, "seen": hour(seen), "lost": place is None, **loaded}
            for parcel, place, seen in scans
        ]
        declared = self.declarations[BRONZE]
        content = pa.Table.from_pylist(rows, schema=arrow_schema(declared.stored_columns))
        self.lake.create(declared).append(content, run_key=f"load-{load}")

    def rounds(self, key: str, window: Window | None = None) -> Rounds:
        """A run that is to be started."""
        lake, declared = self.lake, self.declarations
        gate = Gate(self.settings, lake, declared)
        return Rounds(self.settings, lake, declared, branch=f"run/{key}", run_key=key, window=window, gate=gate)

    def run(self, key: str, select: Sequence[str] = MODELS) -> tuple[Rounds, dict[str, ModelFinished]]:
        """Build and publish these models."""
        rounds = self.rounds(key)
        events = list(rounds.run(select))
        return rounds, {event.name: event for event in events if isinstance(event, ModelFinished)}

    def rows(self, name: TableName, *columns: str) -> list[tuple[Any, ...]]:
        found = self.lake.table(name).scan(columns=columns).read_all().to_pylist()
        return sorted((tuple(row[column] for column in columns) for row in found), key=str)


def write_depot(folder: Path) -> Depot:
    """Write the project and compile its models."""
    depot = Depot(write(folder, FILES))
    parse(depot.settings)
    return depot
