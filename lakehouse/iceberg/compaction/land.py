"""Committing rewritten groups, several in one snapshot, and what becomes of those that other writers overtook.

A group stands as long as its old files and the delete files on them are those that it was made from. How a single
attempt is checked is `commits/produce.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.snapshots import Operation

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.commit import commit_change
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.outcome import Commit
from lakehouse.iceberg.commits.produce import Change
from lakehouse.iceberg.compaction.fingerprint import Fingerprint
from lakehouse.iceberg.compaction.groups import Group
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.selection.plan import ManifestsRead, Paths, Plan, plan

_log = structlog.get_logger(__name__)

ROUNDS = 3
"""How often the groups that still stand are tried again, when others were overtaken."""


@dataclass(frozen=True)
class Rewritten:
    """A group whose rows are in new files, proved to be the same. `number` counts from 1."""

    number: int
    group: Group
    added: tuple[DataFile, ...]
    fingerprint: Fingerprint

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the new files are."""
        return tuple(str(file.file_path) for file in self.added)


@dataclass(frozen=True)
class Landed:
    """The groups that the table has taken over, and how many not. `commit` is None where it took none."""

    commit: Commit | None
    done: tuple[Rewritten, ...]
    overtaken: int


def land(
    load: Callable[[], IcebergTable],
    written: IcebergTable,
    intent: Intent,
    batch: Sequence[Rewritten],
    read: ManifestsRead,
) -> Landed:
    """Commit a batch in one snapshot, without the groups that do not stand any more; their new files are removed.

    `written` is the table as the files were written for it. When it is not known whether the commit landed, files
    stay. Raises CommitError, BranchMissing, CatalogError.
    """
    left = list(batch)
    for _ in range(ROUNDS):
        table = load()
        if table.metadata.default_spec_id != written.metadata.default_spec_id:
            # Files are listed by the partition spec that they were written by.
            table = written
        try:
            return Landed(_commit(table, intent, left, read), tuple(left), len(batch) - len(left))
        except CommitConflict as conflict:
            _log.info("compaction overtaken", table=str(intent.table), reason=conflict.what)
        except CommitError:
            # Refused before anything was asked of the catalog.
            remove_files(written.io, left)
            raise
        table = load()
        with catalog_errors(f"compacting {intent.table}"):
            now = _now(table, intent, left)
        if landed := [of for of in left if of.added and now.keys() >= set(of.paths)]:
            # Somebody removed our snapshot at once, but went on from it.
            return Landed(None, tuple(landed), len(batch) - len(landed))
        standing = [of for of in left if {path: now.get(path) for path in of.group.content} == of.group.content]
        remove_files(table.io, [of for of in left if of not in standing])
        left = standing
        if not left:
            break
    remove_files(written.io, left)
    return Landed(None, (), len(batch))


def remove_files(io: FileIO, batch: Iterable[Rewritten]) -> None:
    """Remove the new files of groups that no snapshot can know."""
    for path in (path for of in batch for path in of.paths):
        try:
            io.delete(path)
        except FileNotFoundError:
            _log.debug("file was not there", location=path)
        except OSError as error:
            _log.warning("file left behind", location=path, reason=str(error))


def _commit(table: IcebergTable, intent: Intent, batch: Sequence[Rewritten], read: ManifestsRead) -> Commit:
    old = Paths([path for of in batch for path in of.group.content])
    rows = sum(of.fingerprint.rows for of in batch)
    change = Change(
        Operation.REPLACE,
        Plan(tuple(touched for of in batch for touched in of.group.touched)),
        lambda metadata: plan(metadata, table.io, intent.branch, old, read),
        frozenset(path for of in batch for path in of.group.content),
        {"read": rows, "kept": rows, "removed": 0, "whole": 0, "hash": str(sum(of.fingerprint.hash for of in batch))},
        {path: of.group.sequence for of in batch for path in of.paths},
    )
    return commit_change(table, intent, [file for of in batch for file in of.added], change)


def _now(table: IcebergTable, intent: Intent, batch: Sequence[Rewritten]) -> dict[str, frozenset[str]]:
    """Which of the groups' old and new files the branch has, and the delete files on them."""
    paths = [path for of in batch for path in (*of.group.content, *of.paths)]
    return plan(table.metadata, table.io, intent.branch, Paths(paths)).content
