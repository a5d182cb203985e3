"""Rows hidden and added in one snapshot by the parts that a merge is made of, and what its manifests say then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
from pyiceberg.manifest import DataFile, DataFileContent, ManifestContent, ManifestEntry
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation

from lakehouse.iceberg import Commit, LakeTable
from lakehouse.iceberg.commits.commit import commit_change
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.produce import Change
from lakehouse.iceberg.deletes.write import Hiding, PositionDeletes
from lakehouse.iceberg.parquet.conform import conformed
from lakehouse.iceberg.parquet.writer import write_files
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.iceberg.selection.plan import Paths, Plan, Touched, plan

Positions = Mapping[str, Sequence[int]]


def opened(table: LakeTable) -> IcebergTable:
    """The table as PyIceberg shows it, committing as ours does."""
    return table._load()  # noqa: SLF001  (no door shows the metadata)


def paths(table: LakeTable) -> list[str]:
    """The live data files, the oldest first."""
    return [file.path for file in sorted(table.live_files(), key=lambda file: (file.sequence, file.path))]


def touched(of: IcebergTable, wanted: Sequence[str], branch: str = "main") -> dict[str, Touched]:
    """Live data files by path."""
    return {one.path: one for one in plan(of.metadata, of.io, branch, Paths(wanted)).touched}


def hidden_by(table: IcebergTable, name: LakeTable, positions: Positions, branch: str = "main") -> Hiding:
    """Delete files for these positions, which no snapshot knows yet."""
    found = touched(table, list(positions), branch)
    asked = {found[path]: pa.array(rows, pa.int64()) for path, rows in positions.items()}
    return PositionDeletes(name.name, table).hide(asked)


def row_delta(  # noqa: PLR0913  (what a snapshot may do)
    table: LakeTable,
    positions: Positions,
    *,
    rows: pa.Table | None = None,
    removed: Sequence[str] = (),
    branch: str = "main",
    run_key: str | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> Commit:
    """One snapshot that hides rows, adds rows, and removes whole files. `meanwhile` happens before the commit."""
    of = opened(table)
    hiding = hidden_by(of, table, positions, branch)
    about = Paths([*positions, *removed])
    added: tuple[DataFile, ...] = ()
    if rows is not None:
        added = write_files(of, conformed(rows, arrow_of(of.schema(), field_ids=True)))

    def planned(metadata: TableMetadata) -> Plan:
        return plan(metadata, of.io, branch, about)

    change = Change(
        Operation.OVERWRITE if added else Operation.DELETE,
        planned(of.metadata),
        planned,
        frozenset(removed),
        hiding=hiding.added,
        superseded=hiding.superseded,
    )
    meanwhile()
    return commit_change(of, Intent(table.name, run_key, branch), added, change)


def live(table: LakeTable, content: ManifestContent, branch: str = "main") -> list[ManifestEntry]:
    """The live entries of the branch's manifests of data files, or of delete files."""
    of = opened(table)
    head = of.metadata.snapshot_by_name(branch)
    return [
        entry
        for manifest in (head.manifests(of.io) if head else ())
        if manifest.content == content
        for entry in manifest.fetch_manifest_entry(of.io)
    ]


def recounted(table: LakeTable) -> dict[str, str]:
    """The totals of the newest summary, counted from the manifests instead."""
    entries = [entry.data_file for content in ManifestContent for entry in live(table, content)]
    counted: Counter[str] = Counter()
    for file in entries:
        kind = file.content
        counted["total-files-size"] += file.file_size_in_bytes
        counted["total-data-files"] += kind == DataFileContent.DATA
        counted["total-records"] += file.record_count if kind == DataFileContent.DATA else 0
        counted["total-delete-files"] += kind != DataFileContent.DATA
        counted["total-position-deletes"] += file.record_count if kind == DataFileContent.POSITION_DELETES else 0
        counted["total-equality-deletes"] += file.record_count if kind == DataFileContent.EQUALITY_DELETES else 0
    return {key: str(value) for key, value in counted.items()}


def summary(table: LakeTable) -> dict[str, str]:
    """What the newest snapshot says of itself."""
    return dict(table.snapshots()[0].summary)


def totals(table: LakeTable) -> dict[str, str]:
    """The totals of the newest summary."""
    return {key: value for key, value in summary(table).items() if key.startswith("total-")}
