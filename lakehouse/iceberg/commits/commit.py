"""The commit protocol: one snapshot, whose every promise is checked anew at each attempt.

PyIceberg's own loop is not used: it keeps what was staged against older metadata, and deletes manifests of a commit
that landed late. An attempt here reads the table, lets the producer check and write manifests (`produce.py`), and asks
the catalog to swap. Which files come and go is decided by `effects.py`; moving refs is `branch.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table import Transaction
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot
from pyiceberg.table.update import (
    AddPartitionSpecUpdate,
    AddSchemaUpdate,
    AddSortOrderUpdate,
    AssertDefaultSpecId,
    AssertTableUUID,
    SetCurrentSchemaUpdate,
    SetDefaultSortOrderUpdate,
    SetDefaultSpecUpdate,
    SetPropertiesUpdate,
    TableRequirement,
    TableUpdate,
    update_table_metadata,
)

from lakehouse.errors import CommitConflict
from lakehouse.iceberg.commits.intent import AlreadyDone, Intent, Overtaken
from lakehouse.iceberg.commits.outcome import Commit, describe, nothing_new
from lakehouse.iceberg.commits.produce import AppendProducer, Change, ChangeProducer, Producer
from lakehouse.iceberg.commits.progress import MAIN, floor_properties, head_of
from lakehouse.iceberg.commits.retry import Backoff
from lakehouse.iceberg.commits.sidecar import sidecar_floor
from lakehouse.iceberg.failures import catalog_errors

_log = structlog.get_logger(__name__)


Beside = tuple[tuple[TableRequirement, ...], tuple[TableUpdate, ...]]
"""What else must be so for a snapshot to land, and what is changed before it in the same swap."""
NOTHING: Beside = ((), ())
_SHAPES = (
    AddSchemaUpdate,
    SetCurrentSchemaUpdate,
    AddPartitionSpecUpdate,
    SetDefaultSpecUpdate,
    AddSortOrderUpdate,
    SetDefaultSortOrderUpdate,
)
"""Updates of columns, partitions and order: files that come in the same swap are written by them."""


def commit_append(
    table: IcebergTable, intent: Intent, added: Sequence[DataFile], *, beside: Beside = NOTHING
) -> Commit:
    """Add files in one snapshot. Raises Fenced, RunKeyTooOld, BranchMissing, CommitConflict, CatalogError."""

    def make(**arguments: Any) -> AppendProducer:  # noqa: ANN401  (the producer's own arguments)
        return AppendProducer(operation=Operation.APPEND, **arguments)

    return _commit(table, intent, added, make, beside)


def commit_change(
    table: IcebergTable, intent: Intent, added: Sequence[DataFile], change: Change, *, beside: Beside = NOTHING
) -> Commit:
    """Replace files by others in ONE snapshot.

    The change is planned again at every attempt. A file that came or went since, or rows of one that another writer
    deleted, are a CommitConflict; a snapshot that would not keep all other files, a CommitError. Columns and partitions
    that come `beside` must not have changed since they were staged, else Overtaken. Raises also what `commit_append`
    does.
    """

    def make(**arguments: Any) -> ChangeProducer:  # noqa: ANN401  (the producer's own arguments)
        producer = ChangeProducer(operation=change.operation, **arguments)
        producer.change = change
        return producer

    return _commit(table, intent, added, make, beside)


def already_done(intent: Intent, metadata: TableMetadata, done: AlreadyDone) -> Commit:
    """The earlier commit of a run key; nothing but the head where its snapshot is expired."""
    if done.snapshot is None:
        return nothing_new(intent.table, intent.branch, head_of(metadata, intent.branch), already_done=True)
    return describe(intent.table, intent.branch, done.snapshot, already_done=True)


class _Unstaged(Transaction):
    """Keeps no updates of its own, so that a producer always sees what the catalog holds, uncopied.

    But for columns and partitions that come in the same swap; they must not have become others meanwhile. And for the
    partitioning: files stay partitioned as they were written, and are listed and counted by that spec, whatever has
    become the table's default meanwhile (Iceberg spec, "Partition Evolution").
    """

    def __init__(self, table: IcebergTable, first: tuple[TableUpdate, ...]) -> None:
        super().__init__(table)
        self._coming = tuple(update for update in first if isinstance(update, _SHAPES))
        self._shape = _shape(table.metadata)
        self._spec_id = self._with_shape(table.metadata).default_spec_id

    @property
    def table_metadata(self) -> TableMetadata:
        now = self._with_shape(self._table.metadata)
        return (
            now if now.default_spec_id == self._spec_id else now.model_copy(update={"default_spec_id": self._spec_id})
        )

    def _with_shape(self, now: TableMetadata) -> TableMetadata:
        if not self._coming:
            return now
        if _shape(now) != self._shape:
            raise Overtaken("columns or partitions were changed")
        return update_table_metadata(now, self._coming)


def _shape(metadata: TableMetadata) -> tuple[int, ...]:
    """What columns, partitions and order a table has."""
    return metadata.current_schema_id, metadata.default_spec_id, metadata.default_sort_order_id


def _commit(
    table: IcebergTable, intent: Intent, added: Sequence[DataFile], make: Callable[..., Producer], beside: Beside
) -> Commit:
    with catalog_errors(f"writing {intent.table}"):
        producer = make(transaction=_Unstaged(table, beside[1]), io=table.io, branch=intent.branch)
        producer.intent = intent
        for file in added:
            producer.append_data_file(file)
        try:
            retries = _land(table, producer, beside)
        except AlreadyDone as done:
            return already_done(intent, table.metadata, done)
        snapshot = table.metadata.snapshot_by_id(producer.snapshot_id)
        if snapshot is None:
            # A later writer's metadata is what the look-up found; ours is in its history.
            table.refresh()
            snapshot = table.metadata.snapshot_by_id(producer.snapshot_id)
        if snapshot is None:
            raise CommitConflict(
                f"the snapshot written to {intent.table} was removed at once by another program", remedy="Run again."
            )
        if retries:
            _tidy(table, producer, snapshot)
    return describe(intent.table, intent.branch, snapshot, retries=retries)


def _land(table: IcebergTable, producer: Producer, beside: Beside) -> int:
    """Try until the snapshot is in the table; how often it was overtaken.

    The snapshot's id stays the same over all attempts, so that one which landed late is recognised.
    """
    backoff, retries = Backoff.of(table.metadata.properties), 0
    pauses = backoff.pauses()
    required, first = beside
    floor = {**floor_properties(producer.intent.progress), **sidecar_floor(producer.intent.summary)}
    if producer.intent.branch == MAIN and floor:
        first += (SetPropertiesUpdate(updates=floor),)
    while True:
        try:
            updates, requirements = producer.attempt()
        except Exception:
            # Nothing is on its way to the catalog: earlier attempts are known to be refused.
            producer.clean_up()
            raise
        try:
            everything = (*required, *requirements, *_same(table))
            table._do_commit((*first, *updates), everything)  # noqa: SLF001  (as Transaction does)
        except CommitFailedException as refusal:
            pause = next(pauses, None)
            if pause is None:
                producer.clean_up()
                raise CommitConflict(
                    f"other writers of {producer.intent.table} were faster {retries + 1} times",
                    expected=f"a commit within {backoff.budget_s:g} s",
                    found=str(refusal),
                    remedy="Nothing was written. Run again, when fewer write to the table.",
                ) from refusal
        else:
            return retries
        retries += 1
        _log.debug("overtaken", table=str(producer.intent.table), retries=retries, pause_s=round(pause, 3))
        time.sleep(pause)
        table.refresh()
        if table.metadata.snapshot_by_id(producer.snapshot_id) is not None:
            return retries
        producer.start_over()


def _same(table: IcebergTable) -> tuple[TableRequirement, ...]:
    """The table was not made anew; a changed partition spec is another attempt, for that of the files may be gone."""
    metadata = table.metadata
    return (
        AssertTableUUID(uuid=metadata.table_uuid),
        AssertDefaultSpecId(default_spec_id=metadata.default_spec_id),
    )


def _tidy(table: IcebergTable, producer: Producer, snapshot: Snapshot) -> None:
    """Remove the manifests of refused attempts: all that the snapshot which landed does not name."""
    live = {snapshot.manifest_list, *(manifest.manifest_path for manifest in snapshot.manifests(table.io))}
    producer.clean_up(but=live)
