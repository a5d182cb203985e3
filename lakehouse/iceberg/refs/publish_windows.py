"""Publish by windows: main takes what a branch holds of some days, and the branch keeps the rest.

What is taken may go to another branch first, to be audited there without the rest. All of a branch at once is
`publish.py`. Which days a file holds is told by `window.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from lakehouse.iceberg.commits.progress import MAIN, Progress, head_of, progress_at, summary_of
from lakehouse.iceberg.commits.sidecar import TOMBSTONES
from lakehouse.iceberg.merge.tombstones_joined import Joined
from lakehouse.iceberg.refs.branch import discard, refuse_main
from lakehouse.iceberg.refs.rebase import conflict, moved_by, replay, says_something
from lakehouse.iceberg.refs.staged import PUBLISHED, Staged, files_at, hides_rows, rows_in, staged
from lakehouse.iceberg.refs.swap import stands_at
from lakehouse.iceberg.selection.plan import Paths, plan
from lakehouse.iceberg.selection.window import NO_DAY, days_of, window_column
from lakehouse.tables import Position, TableName, Window

Files = frozenset[DataFile]
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Said:
    """What the snapshot says beside its files, as `Promise` does: of the days that it brings, not of the whole run."""

    progress: Progress = field(default_factory=dict)
    expected: Mapping[str, Position | None] = field(default_factory=dict)
    summary: Mapping[str, str] = field(default_factory=dict)


_NOTHING_SAID = Said()


def publish_windows(  # noqa: PLR0913, PLR0917  (what is published, where to, and what is said of it)
    table: IcebergTable,
    name: TableName,
    branch: str,
    windows: Sequence[Window],
    onto: str = MAIN,
    said: Said = _NOTHING_SAID,
) -> Commit:
    """Give `onto` the branch's files of these windows in place of its own, in one snapshot; done before, nothing is.

    Serializable: each day of them must be there as it was when the branch was made, or be published already. The
    branch is kept until nothing of it is left beside main; then its run keys and its progress follow, and it goes.
    Raises PublishConflict when `onto` changed on these days, CommitError for a table without windows and for a staged
    file that holds days inside and outside of them, Fenced, BranchMissing, CommitConflict, CatalogError.
    """
    refuse_main(branch)
    table.refresh()
    beside = staged(table.metadata, name, branch)
    if beside.is_on_main:
        if onto == MAIN:
            discard(table, name, branch, only_at=beside.head.snapshot_id)
        return nothing_new(name, onto, head_of(table.metadata, onto), already_done=True)
    if beside.fork is None or beside.taken_back:
        raise conflict(name, branch, expected="a branch made at a state that main has", found="one that main has not")
    if hides_rows(beside, table.io):
        raise conflict(name, branch, expected="changes by whole files", found="delete files of another program")
    work = _Work(table, name, branch, tuple(windows), beside, onto)
    commit = work.publish(said)
    if onto == MAIN and not work.left():
        _settle(table, name, branch)
    return commit


class _Work:
    """What a branch changes in some windows, and whether the ref that takes it still allows it."""

    def __init__(  # noqa: PLR0913, PLR0917  (as `publish_windows`)
        self,
        table: IcebergTable,
        name: TableName,
        branch: str,
        windows: tuple[Window, ...],
        beside: Staged,
        onto: str,
    ) -> None:
        self._table, self._name, self._branch, self._windows, self._onto = table, name, branch, windows, onto
        self._head_id, self._fork = beside.head.snapshot_id, beside.fork
        before, after = self._before, self._after = files_at(beside.fork, table.io), files_at(beside.head, table.io)
        self._column = window_column(name, table.metadata)
        self._days = {day for window in windows for day in window.days}
        for file in before ^ after:
            self._refuse_straddling(file)
        self._fork_days, self._branch_days = self._by_day(before), self._by_day(after)

    def publish(self, said: Said) -> Commit:
        metadata = self._table.metadata
        took, brought = self._change(metadata)
        head = head_of(metadata, self._onto)
        there = progress_at(metadata, head)
        moved = any(there.get(scope) != position for scope, position in said.progress.items())
        joined = Joined(self._table, self._name, self._onto, self._branch, self._fork)
        if not took and not brought and not moved and joined.entry is None:
            return nothing_new(self._name, self._onto, head, already_done=True)
        try:
            return self._commit(took, brought, said, joined)
        except CommitError:
            joined.remove()
            raise

    def _commit(self, took: Files, brought: Files, said: Said, joined: Joined) -> Commit:
        metadata = self._table.metadata
        days = {"branch": self._branch, "windows": [[str(window.start), str(window.end)] for window in self._windows]}
        # No run key, and no progress but what is said: both tell that a run is done, and of this one only some days
        # are. A retry must find the run undone, and a load must not begin behind rows that are not there.
        intent = _Unchanged(
            self._name,
            None,
            self._onto,
            said.progress,
            said.expected,
            {**said.summary, PUBLISHED: json.dumps(days), **({TOMBSTONES: joined.entry} if joined.entry else {})},
            check_days=lambda now: self._still(now, took, brought, joined),
        )
        files = sorted(brought, key=lambda file: file.file_path)
        # The branch is asserted too: of one that is dropped in this moment an expiry deletes the files.
        beside = ((stands_at(self._branch, self._head_id),), ())
        if not took:
            return commit_append(self._table, intent, files, beside=beside)
        paths, io = Paths([file.file_path for file in took]), self._table.io
        change = Change(
            Operation.OVERWRITE,
            plan(metadata, io, self._onto, paths),
            lambda now: plan(now, io, self._onto, paths),
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
        """The files that the ref has to lose and to gain. Raises PublishConflict."""
        now_days = self._by_day(files_at(head_of(metadata, self._onto), self._table.io))
        took, brought = set[DataFile](), set[DataFile]()
        for day in {*now_days, *self._fork_days, *self._branch_days}:
            here, then, wanted = (days.get(day, frozenset()) for days in (now_days, self._fork_days, self._branch_days))
            if here == wanted:
                continue
            if here != then:
                raise conflict(
                    self._name,
                    self._branch,
                    expected=f"of {day}, the files that {self._onto} had when the branch was made",
                    found=f"{len(here - then)} new ones and {len(then - here)} gone",
                )
            took |= then - wanted
            brought |= wanted - then
        return frozenset(took), frozenset(brought)

    def _still(self, metadata: TableMetadata, took: Files, brought: Files, joined: Joined) -> None:
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
        if not joined.unchanged(metadata):
            raise CommitConflict(
                f"somebody else deleted keys of {self._name} on {self._onto!r}",
                remedy="Nothing was published. Run again.",
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


def _settle(table: IcebergTable, name: TableName, branch: str) -> None:
    """All is on main: now the runs are done, so their keys and their progress follow, and the branch goes.

    Not the progress of scopes that a publish of windows has moved: what it said of them is what main holds.
    """
    beside = staged(table.metadata, name, branch)
    parts = [past for past in beside.behind if _of_branch(past, branch)]
    told = {scope for past in parts for scope in moved_by(table.metadata, past)}
    try:
        for past in reversed(beside.ahead):
            if says_something(table.metadata, past):
                replay(table, name, past, MAIN, files=(), but=told)
    except Fenced as error:
        raise conflict(name, branch, expected=f"progress at {error.expected}", found=f"{error.found} on main") from None
    discard(table, name, branch, only_at=beside.head.snapshot_id)


def _of_branch(snapshot: Snapshot, branch: str) -> bool:
    text = summary_of(snapshot).get(PUBLISHED)
    return text is not None and bool(json.loads(text)["branch"] == branch)


def _each(first: date, last: date) -> Iterator[date]:
    return (first + _DAY * number for number in range((last - first).days + 1))
