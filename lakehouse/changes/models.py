"""Which models without windows are out of date: a table that one read has other rows now.

Each is computed as a whole, so what it read last stands in the summary that its build wrote (`iceberg/consumers.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from lakehouse.changes.look import Look
from lakehouse.contracts import Declarations
from lakehouse.errors import TableMissing
from lakehouse.iceberg import Lake, SnapshotInfo, content_read_in, read_in
from lakehouse.tables import Layer, TableName

_TOUCHING = ("added-", "deleted-", "removed-")


def stale_models(
    lake: Lake, declarations: Declarations, parents: Mapping[TableName, frozenset[TableName]]
) -> dict[TableName, tuple[TableName, ...]]:
    """The models without windows whose upstreams moved since the model read them, each with these upstreams.

    From metadata alone. A model that was never built is not among them. A compaction, and a commit that brought
    progress alone, move nothing. Raises CatalogError.
    """
    look = Look(lake)
    found: dict[TableName, tuple[TableName, ...]] = {}
    for model in declarations.values():
        if model.window_column is None and model.name.layer is not Layer.BRONZE and model.name in parents:
            moved = _moved_since_read(look, model.name, parents[model.name])
            if moved:
                found[model.name] = moved
    return found


def _moved_since_read(look: Look, model: TableName, parents: frozenset[TableName]) -> tuple[TableName, ...]:
    try:
        line = look.table(model).snapshots()
    except TableMissing:
        return ()
    read, rows = read_in(line), content_read_in(line)
    if read is None:
        return ()
    return tuple(name for name in sorted(parents - {model}) if _moved(look, name, read.get(name), rows.get(name)))


def _moved(look: Look, upstream: TableName, read: int | None, content: int | None) -> bool:
    """Whether rows of an upstream may have come or gone since a snapshot of it, which had those of snapshot `content`.

    None: since before its first one.
    """
    head = look.head(upstream)
    if head is None or head.id == read:
        return False
    touched = False
    for snapshot in look.table(upstream).snapshots():
        if snapshot.id == read or (content is not None and snapshot.content_id == content):
            return touched
        touched = touched or _touches(snapshot)
    # Expired, or not in main's history since a restore; of what was read before the first row, nothing is lost.
    return touched if read is None else True


def _touches(snapshot: SnapshotInfo) -> bool:
    """Whether a commit may have changed rows: one that names no file does not. Of compaction the content tells."""
    told = "total-records" in snapshot.summary
    return not told or any(key.startswith(_TOUCHING) for key in snapshot.summary)
