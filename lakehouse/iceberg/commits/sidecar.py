"""The file of a branch's deleted keys: which one a snapshot names, carried forward by every commit as progress is.

No manifest names it, so no reader sees it. What is in it is `merge/tombstone_file.py`, what it means for a merge
`merge/tombstones.py`; that it stays while it is named is the work of `expiry/` and `orphans/`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.statistics import StatisticsFile
from pyiceberg.table.update import AddSnapshotUpdate, SetStatisticsUpdate, TableUpdate

from lakehouse.errors import CatalogError
from lakehouse.iceberg.commits.progress import history, summary_of

TOMBSTONES = "lakehouse.tombstones"
"""The key in a snapshot's summary: a `Sidecar` as JSON, or `{}` for none.

Also the table property that answers for main when foreign commits and expiry left no snapshot that says it.
"""
NONE = "{}"


@dataclass(frozen=True)
class Sidecar:
    """A Parquet file of deleted keys. `key` are the field ids of its key columns, `sequence` that of the versions.

    `newest`: when the last of its rows was written (UTC).
    """

    path: str
    rows: int
    bytes: int
    footer_bytes: int
    key: tuple[int, ...]
    sequence: int
    newest: datetime

    @classmethod
    def of(cls, text: str | None) -> Self | None:
        """What a summary or the property says. Raises CatalogError when it cannot be read."""
        if text is None:
            return None
        try:
            told = json.loads(text)
            if told == {}:
                return None
            return cls(
                path=str(told["path"]),
                rows=int(told["rows"]),
                bytes=int(told["bytes"]),
                footer_bytes=int(told["footer_bytes"]),
                key=tuple(map(int, told["key"])),
                sequence=int(told["sequence"]),
                newest=datetime.fromisoformat(told["newest"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CatalogError(
                f"what {TOMBSTONES} says of a table's deleted keys cannot be read",
                expected="what this project wrote there",
                found=text[:200],
                remedy="Roll the table back to a snapshot that this project wrote, and remove the table property.",
            ) from error

    def encoded(self) -> str:
        """As a summary and the property hold it."""
        return json.dumps({**vars(self), "newest": self.newest.isoformat()}, separators=(",", ":"))


def sidecar_at(metadata: TableMetadata, head: Snapshot | None) -> str | None:
    """What a snapshot says of its deleted keys: the newest summary on its way back that tells it.

    The property, if foreign commits and expiry left none.
    """
    oldest = None
    for oldest in history(metadata, head):
        if (text := summary_of(oldest).get(TOMBSTONES)) is not None:
            return text
    if oldest is None or oldest.sequence_number == 1:
        # Nothing has expired below: no merge of ours has deleted a key there, whatever main has.
        return None
    return metadata.properties.get(TOMBSTONES)


def sidecar_floor(summary: Mapping[str, str]) -> dict[str, str]:
    """The property that goes with a summary to main."""
    return {TOMBSTONES: summary[TOMBSTONES]} if TOMBSTONES in summary else {}


def sidecars(metadata: TableMetadata) -> Iterator[tuple[str, int]]:
    """Path and bytes of every file of deleted keys that a snapshot or the property names. Raises CatalogError."""
    told = {summary_of(snapshot).get(TOMBSTONES) for snapshot in metadata.snapshots}
    for sidecar in map(Sidecar.of, told | {metadata.properties.get(TOMBSTONES)}):
        if sidecar is not None:
            yield sidecar.path, sidecar.bytes


def as_statistics(updates: tuple[TableUpdate, ...]) -> tuple[TableUpdate, ...]:
    """What also lists the file among the statistics of each new snapshot that names it.

    Orphan removal of Iceberg's Java library (Spark) spares files of snapshots and of statistics, and knows no others.
    Without blobs no engine opens it. Listed anew for every snapshot: with an expired one go the files of its
    statistics that no other lists.
    """
    snapshots = [update.snapshot for update in updates if isinstance(update, AddSnapshotUpdate)]
    named = ((snapshot, Sidecar.of(summary_of(snapshot).get(TOMBSTONES))) for snapshot in snapshots)
    return tuple(
        SetStatisticsUpdate(
            statistics=StatisticsFile.model_validate(
                {
                    "snapshot-id": snapshot.snapshot_id,
                    "statistics-path": sidecar.path,
                    "file-size-in-bytes": sidecar.bytes,
                    "file-footer-size-in-bytes": sidecar.footer_bytes,
                    "blob-metadata": [],
                }
            )
        )
        for snapshot, sidecar in named
        if sidecar is not None
    )
