"""What a snapshot's summary counts: files that came and went, and the totals after it, as Iceberg names them."""

from __future__ import annotations

from collections.abc import Iterable

from pyiceberg.manifest import DataFile
from pyiceberg.table import TableProperties
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import (
    Operation,
    Snapshot,
    SnapshotSummaryCollector,
    Summary,
    update_snapshot_summaries,
)


def summarised(
    metadata: TableMetadata,
    parent: Snapshot | None,
    said: Summary,
    come: Iterable[DataFile],
    gone: Iterable[DataFile],
) -> Summary:
    """What is `said` of a snapshot, with its counts. Each file is counted in the partition of its own spec.

    PyIceberg counts the added ones by the default spec, and computes no totals for "replace".
    """
    limit = metadata.properties.get(
        TableProperties.WRITE_PARTITION_SUMMARY_LIMIT, TableProperties.WRITE_PARTITION_SUMMARY_LIMIT_DEFAULT
    )
    collector, specs, schema = SnapshotSummaryCollector(int(limit)), metadata.specs(), metadata.schema()
    for file in come:
        collector.add_file(file, schema, specs[file.spec_id])
    for file in gone:
        collector.remove_file(file, schema, specs[file.spec_id])
    counted = {**collector.build(), **said.additional_properties}
    # The totals of every operation are made alike.
    totals = update_snapshot_summaries(
        Summary(Operation.OVERWRITE, **counted), parent.summary if parent is not None else None
    )
    return Summary(said.operation, **totals.additional_properties)
