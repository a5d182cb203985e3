"""What tells the next expiry that this one was stopped between its commit and the deletion of files.

One table property for each expiry, set in the commit that removes the snapshots: it names the metadata file of before.
Each has a key of its own, so that two expiries at once never overwrite each other's.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

import structlog
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import RemovePropertiesUpdate

from lakehouse.errors import CatalogError, CommitConflict
from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.refs.swap import Swap, swap
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

EXPIRY = "lakehouse.expiry."
"""Prefix of the properties; the rest of the key is the expiry's own id."""


def new_mark() -> str:
    """The key of one more expiry."""
    return f"{EXPIRY}{uuid.uuid4().hex[:12]}"


def unfinished(metadata: TableMetadata) -> Mapping[str, str]:
    """The metadata files of before, by key."""
    return {key: file for key, file in metadata.properties.items() if key.startswith(EXPIRY)}


def metadata_of(io: FileIO, file: str) -> TableMetadata | None:
    """What a metadata file says; None when it is gone. Raises OSError."""
    try:
        return FromInputFile.table_metadata(io.new_input(file))
    except FileNotFoundError:
        return None


def finish(table: IcebergTable, name: TableName, marks: Collection[str]) -> None:
    """Take the marks away. What fails here is only logged: the work is done, and the next expiry finds it done."""

    def plan(metadata: TableMetadata) -> Swap | None:
        there = sorted(set(marks) & metadata.properties.keys())
        # PyIceberg fails on a property that is gone: another expiry may take the same marks away in this moment.
        required = SafeCatalog.of(table).as_planned(metadata)
        return (required, (RemovePropertiesUpdate(removals=there),)) if there else None

    try:
        swap(table, name, plan)
    except (CommitConflict, CatalogError) as error:
        _log.warning("the mark of a finished expiry is left", table=str(name), answer=str(error))
