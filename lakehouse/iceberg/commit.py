"""The commit protocol: snapshots that carry progress and a run key, fenced at every attempt.

PyIceberg's transaction calls a producer's `_commit` anew on every attempt with refreshed metadata, so each promise is
checked there, against the head that the attempt builds on. Which files are written and replaced is decided by
`table.py` and `window.py`; moving refs is `branch.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles, _OverwriteFiles, _SnapshotProducer
from pyiceberg.typedef import EMPTY_DICT

from lakehouse.errors import CommitConflict, LakehouseError
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.intent import AlreadyDone, Intent
from lakehouse.iceberg.outcome import Commit, describe
from lakehouse.iceberg.progress import (
    FORMAT,
    FORMAT_VERSION,
    MAIN,
    PROGRESS,
    RUN_KEY,
    encoded,
    floor_properties,
    progress_at,
)

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import UpdatesAndRequirements


def commit_append(table: IcebergTable, intent: Intent, added: Sequence[DataFile]) -> Commit:
    """Add files in one snapshot. Raises Fenced, BranchMissing, CommitConflict, CatalogError."""
    return _commit(table, intent, added, lambda **arguments: _Append(operation=Operation.APPEND, **arguments))


def commit_overwrite(
    table: IcebergTable,
    intent: Intent,
    added: Sequence[DataFile],
    removed: Callable[[TableMetadata], frozenset[DataFile]],
) -> Commit:
    """Replace files by others in ONE snapshot.

    `removed` names the files to replace as of some metadata. It is asked on every attempt, and must always answer as
    it did at first: a file that came or went since is another writer's work, and CommitConflict. Raises also Fenced,
    BranchMissing, CatalogError.
    """
    planned = removed(table.metadata)

    def make(**arguments: Any) -> _Overwrite:  # noqa: ANN401  (the producer's own arguments)
        producer = _Overwrite(operation=Operation.OVERWRITE, **arguments)
        producer.replan = removed
        for file in planned:
            producer.delete_data_file(file)
        return producer

    return _commit(table, intent, added, make)


class _Refused(ValidationException):
    """Carries our reason through PyIceberg, which cleans up the attempt's manifests for a ValidationException."""

    def __init__(self, reason: Exception) -> None:
        self.reason = reason
        super().__init__(str(reason))


class _Protocol(_SnapshotProducer[Any]):
    """What every producer of ours does at every attempt."""

    intent: Intent
    retries: int = 0

    @property
    def _landed(self) -> TableMetadata:
        """What the catalog holds; the transaction's own metadata has our floor property staged in it already."""
        return self._transaction._table.metadata  # noqa: SLF001  (this class is part of PyIceberg's machinery)

    def _refresh_for_retry(self) -> None:
        self.retries += 1
        super()._refresh_for_retry()

    def _commit(self) -> UpdatesAndRequirements:
        try:
            self._check(self._landed)
        except (LakehouseError, AlreadyDone) as reason:
            raise _Refused(reason) from reason
        return super()._commit()

    def _check(self, metadata: TableMetadata) -> None:
        self.intent.check(metadata)
        if any(file.spec_id != metadata.default_spec_id for file in self._added_data_files):
            raise _conflict(self.intent, "the table's partitioning changed")

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        metadata = self._landed
        parent = metadata.snapshot_by_id(self._parent_snapshot_id) if self._parent_snapshot_id is not None else None
        ours = {
            FORMAT: FORMAT_VERSION,
            PROGRESS: encoded({**progress_at(metadata, parent), **self.intent.progress}),
        }
        if self.intent.run_key is not None:
            ours[RUN_KEY] = self.intent.run_key
        return super()._summary({**snapshot_properties, **self.intent.summary, **ours})


class _Append(_Protocol, _FastAppendFiles):
    """Files are added; nothing conflicts."""


class _Overwrite(_Protocol, _OverwriteFiles):
    """Files are replaced by others."""

    replan: Callable[[TableMetadata], frozenset[DataFile]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (the library's own arguments)
        super().__init__(*args, **kwargs)
        # No manifest is skipped when the files to remove are looked for: their own list says which they are.
        self.delete_by_predicate(AlwaysTrue())

    def _check(self, metadata: TableMetadata) -> None:
        super()._check(metadata)
        if self.replan(metadata) != self._deleted_data_files:
            raise _conflict(self.intent, "files of the replaced window came or went")

    def _validate_concurrency(self) -> None:
        """`_check` compares the very files; the library's check would refuse every concurrent append."""


def _conflict(intent: Intent, what: str) -> CommitConflict:
    return CommitConflict(
        f"{what} while {intent.table} was being written on branch {intent.branch!r}",
        remedy="Nothing was written. Run again.",
    )


def _commit(table: IcebergTable, intent: Intent, added: Sequence[DataFile], make: Callable[..., _Protocol]) -> Commit:
    transaction = table.transaction()
    producer: _Protocol | None = None
    try:
        with catalog_errors(f"writing {intent.table}"):
            if intent.branch == MAIN and intent.progress:
                transaction.set_properties(floor_properties(intent.progress))
            producer = make(transaction=transaction, io=table.io, branch=intent.branch)
            producer.intent = intent
            for file in added:
                producer.append_data_file(file)
            producer.commit()
            transaction.commit_transaction()
    except _Refused as refused:
        if isinstance(refused.reason, AlreadyDone):
            return describe(intent.table, intent.branch, refused.reason.snapshot, already_done=True)
        raise refused.reason from None
    except (CommitFailedException, ValidationException) as error:
        raise _conflict(intent, "other writers were faster at every attempt") from error
    snapshot = table.metadata.snapshot_by_id(producer.snapshot_id)
    if snapshot is None:
        # A later writer's metadata is what the look-up found; ours is in its history.
        table.refresh()
        snapshot = table.metadata.snapshot_by_id(producer.snapshot_id)
    if snapshot is None:
        raise _conflict(intent, "the committed snapshot was removed")
    return describe(intent.table, intent.branch, snapshot, retries=producer.retries)
