"""Publish by windows: main takes what a branch holds of some days, and the branch keeps the rest.

All of a branch at once is `publish.py`. Which days a file holds is told by `window.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation, Snapshot

from lakehouse.errors import CommitConflict, CommitError, Fenced
from lakehouse.iceberg.commits.commit import commit_append, commit_change
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.outcome import Commit, nothing_new
from lakehouse.iceberg.commits.produce import Change
from lakehouse.iceberg.commits.progress import MAIN, head_of
from lakehouse.iceberg.refs.branch import discard, refuse_main
from lakehouse.iceberg.refs.rebase import conflict, replay, says_something
from lakehouse.iceberg.refs.staged import PUBLISHED, Staged, files_at, hides_rows, rows_in, staged
from lakehouse.iceberg.refs.swap import stands_at
from lakehouse.iceberg.selection.plan import Paths, plan
from lakehouse.iceberg.selection.window import NO_DAY, days_of, window_column
from lakehouse.tables import TableName, Window

Files = frozenset[DataFile]
_DAY = timedelta(days=1)


def publish_windows(table: IcebergTable, name: TableName, branch: str, windows: Sequence[Window]) -> Commit:
    """Give main the branch's files of these windows in place of its own, in one snapshot; done before, it does nothing.

    Serializable: each day of them must be on main as it was when the branch was made, or be published already. The
    branch is kept until nothing of it is left; then its run keys and its progress follow, and it goes. Raises
    PublishConflict when main changed on these days, CommitError for a table without windows and for a staged file that
    holds days inside and outside of them, BranchMissing, CommitConflict, CatalogError.
    """
    refuse_main(branch)
    table.refresh()
    beside = staged(table.metadata, name, branch)
    if beside.is_on_main:
        discard(table, name, branch, only_at=beside.head.snapshot_id)
        return nothing_new(name, MAIN, beside.main, already_done=True)
    if beside.fork is None or beside.taken_back:
        raise conflict(name, branch, expected="a branch made at a state that main has", found="one that main has not")
    if hides_rows(beside, table.io):
        raise conflict(name, branch, expected="changes by whole files", found="delete files of another program")
    work = _Work(table, name, branch, tuple(windows), beside)
    commit = work.publish(beside.main)
    if not work.left():
        _settle(table, name, branch, beside)
    return commit


class _Work:
    """What a branch changes in some windows, and whether main still allows it."""

    def __init__(
        self, table: IcebergTable, name: TableName, branch: str, windows: tuple[Window, ...], beside: Staged
    ) -> None:
        self._table, self._name, self._branch, self._windows = table, name, branch, windows
        self._head_id = beside.head.snapshot_id
        before, after = self._before, self._after = files_at(beside.fork, table.io), files_at(beside.head, table.io)
        self._column = window_column(name, table.metadata)
        self._days = {day for window in windows for day in window.days}
        for file in before ^ after:
            self._refuse_straddling(file)
        self._fork_days, self._branch_days = self._by_day(before), self._by_day(after)

    def publish(self, main: Snapshot) -> Commit:
        took, brought = self._change(self._table.metadata)
        if not took and not brought:
            return nothing_new(self._name, MAIN, main, already_done=True)
        said = {"branch": self._branch, "windows": [[str(window.start), str(window.end)] for window in self._windows]}
        # No run key and no progress: both say that a run is done, and of this one only some days are. A retry must find
        # the run undone, and a load must not begin behind rows that are not on main.
        intent = _Unchanged(
            self._name,
            None,
            summary={PUBLISHED: json.dumps(said)},
            check_days=lambda now: self._still(now, took, brought),
        )
        files = sorted(brought, key=lambda file: file.file_path)
        # The branch is asserted too: of one that is dropped in this moment an expiry deletes the files.
        beside = ((stands_at(self._branch, self._head_id),), ())
        if not took:
            return commit_append(self._table, intent, files, beside=beside)
        paths, io = Paths([file.file_path for file in took]), self._table.io
        change = Change(
            Operation.OVERWRITE,
            plan(self._table.metadata, io, MAIN, paths),
            lambda now: plan(now, io, MAIN, paths),
            frozenset(file.file_path for file in took),
            {"read": 0, "kept": 0, "removed": 0, "whole": rows_in(took)},
        )
        return commit_change(self._table, intent, files, change, beside=beside)

    def left(self) -> int:
        """How many files of the branch main has not followed, in any window."""
        self._table.refresh()
        main = files_at(self._table.metadata.current_snapshot(), self._table.io)
        return len((self._after - self._before) - main) + len((self._before - self._after) & main)

    def _change(self, metadata: TableMetadata) -> tuple[Files, Files]:
        """The files that main has to lose and to gain. Raises PublishConflict."""
        main_days = self._by_day(files_at(metadata.current_snapshot(), self._table.io))
        took, brought = set[DataFile](), set[DataFile]()
        for day in {*main_days, *self._fork_days, *self._branch_days}:
            here, then, wanted = (
                days.get(day, frozenset()) for days in (main_days, self._fork_days, self._branch_days)
            )
            if here == wanted:
                continue
            if here != then:
                raise conflict(
                    self._name,
                    self._branch,
                    expected=f"of {day}, the files that main had when the branch was made",
                    found=f"{len(here - then)} new ones and {len(then - here)} gone",
                )
            took |= then - wanted
            brought |= wanted - then
        return frozenset(took), frozenset(brought)

    def _still(self, metadata: TableMetadata, took: Files, brought: Files) -> None:
        head = head_of(metadata, self._branch)
        if head is None or head.snapshot_id != self._head_id:
            raise CommitConflict(
                f"branch {self._branch!r} of {self._name} moved while windows of it were published",
                expected=f"its head at {self._head_id}",
                found=str(head and head.snapshot_id),
                remedy="Nothing was published. Audit the branch and run again.",
            )
        if self._change(metadata) != (took, brought):
            raise CommitConflict(
                f"somebody else published windows of branch {self._branch!r} of {self._name}", remedy="Run again."
            )

    def _by_day(self, files: Iterable[DataFile]) -> dict[date, Files]:
        """The files that hold rows of the windows, by their first day; those of unknown days together."""
        found: dict[date, set[DataFile]] = {}
        for file in files:
            span = days_of(self._table.metadata, self._column, file)
            if span is None or any(window.start <= span[1] and span[0] < window.end for window in self._windows):
                found.setdefault(NO_DAY[0] if span is None else span[0], set()).add(file)
        return {day: frozenset(group) for day, group in found.items()}

    def _refuse_straddling(self, file: DataFile) -> None:
        span = days_of(self._table.metadata, self._column, file)
        if span is not None and len({day in self._days for day in _each(*span)}) == 1:
            return
        raise CommitError(
            f"a file on branch {self._branch!r} of {self._name} holds days inside and outside of the windows",
            expected=f"files of whole days of {self._column.name}",
            found="a file without bounds" if span is None else f"{span[0]} to {span[1]}",
            remedy="Publish windows that cover the whole file, or the whole branch.",
        )


@dataclass(frozen=True)
class _Unchanged(Intent):
    """A commit that is refused, at every attempt, unless the days it changes are as they were."""

    check_days: Callable[[TableMetadata], None] = lambda _metadata: None

    def check(self, metadata: TableMetadata) -> Snapshot | None:
        self.check_days(metadata)
        return super().check(metadata)


def _settle(table: IcebergTable, name: TableName, branch: str, beside: Staged) -> None:
    """All is on main: now the runs are done, so their keys and their progress follow, and the branch goes."""
    try:
        for past in reversed(beside.ahead):
            if says_something(table.metadata, past):
                replay(table, name, past, MAIN, with_files=False)
    except Fenced as error:
        raise conflict(name, branch, expected=f"progress at {error.expected}", found=f"{error.found} on main") from None
    discard(table, name, branch, only_at=beside.head.snapshot_id)


def _each(first: date, last: date) -> Iterator[date]:
    return (first + _DAY * number for number in range((last - first).days + 1))
