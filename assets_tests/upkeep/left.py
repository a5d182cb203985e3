"""What upkeep has left behind: its record, and the files of a table."""

from __future__ import annotations

from pathlib import Path

from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ledger import UPKEEP
from lakehouse.storage import from_uri, local_path


def recorded(lake: Lake) -> list[dict[str, object]]:
    """`ops.upkeep`, by time and action."""
    if not lake.exists(UPKEEP.name):
        return []
    entries = lake.table(UPKEEP.name).scan().read_all().to_pylist()
    return sorted(entries, key=lambda entry: (entry["started_at"], entry["action"]))


def data_files(table: LakeTable) -> list[Path]:
    """What lies in the table's data folder, whatever names it."""
    folder = local_path(from_uri(table.live_files()[0].path)).parent
    return sorted(path for path in folder.iterdir() if path.suffix == ".parquet")
