"""What a branch holds, in figures, for people who decide whether to publish or discard it.

The snapshots and files behind the figures are `staged.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg.commits.progress import RUN_KEY, summary_of
from lakehouse.iceberg.refs.staged import files_at, rows_in, staged
from lakehouse.iceberg.selection.window import NO_DAY, WINDOW_COLUMN, days_of, window_column
from lakehouse.tables import TableName, Window


@dataclass(frozen=True)
class BranchWindow:
    """What a branch changes on the days that one file of it holds; `window` None: days unknown or NULL.

    `on_main`: main has followed there, by a publish of windows.
    """

    window: Window | None
    rows_added: int
    rows_removed: int
    on_main: bool


@dataclass(frozen=True)
class BranchState:
    """A branch beside main: snapshots that one has and the other has not, and the net effect on rows and files.

    `next`: main can move to it as it is. `appends_only`: it can be put on top of a main that moved. `written_at` in
    UTC. `windows` is empty for a table without a window column.
    """

    branch: str
    snapshot_id: int
    written_at: datetime
    ahead: int
    behind: int
    next: bool
    appends_only: bool
    rows_added: int
    rows_removed: int
    files_added: int
    files_removed: int
    run_keys: tuple[str, ...]
    windows: tuple[BranchWindow, ...]


def state_of(table: IcebergTable, name: TableName, branch: str) -> BranchState:
    """The state of a branch. Raises BranchMissing."""
    beside = staged(table.metadata, name, branch)
    before, after = files_at(beside.fork, table.io), files_at(beside.head, table.io)
    keys = [summary_of(snapshot).get(RUN_KEY) for snapshot in reversed(beside.ahead)]
    windowed = WINDOW_COLUMN in table.metadata.properties
    return BranchState(
        branch=branch,
        snapshot_id=beside.head.snapshot_id,
        written_at=datetime.fromtimestamp(beside.head.timestamp_ms / 1000, UTC),
        ahead=len(beside.ahead),
        behind=len(beside.behind),
        next=beside.is_next,
        appends_only=beside.appends_only,
        rows_added=rows_in(after - before),
        rows_removed=rows_in(before - after),
        files_added=len(after - before),
        files_removed=len(before - after),
        run_keys=tuple(dict.fromkeys(key for key in keys if key is not None)),
        windows=_windows(table, name, before, after, files_at(beside.main, table.io)) if windowed else (),
    )


def _windows(
    table: IcebergTable,
    name: TableName,
    before: frozenset[DataFile],
    after: frozenset[DataFile],
    main: frozenset[DataFile],
) -> tuple[BranchWindow, ...]:
    column = window_column(name, table.metadata)

    def by_span(files: Iterable[DataFile]) -> dict[tuple[date, date], set[DataFile]]:
        found: dict[tuple[date, date], set[DataFile]] = {}
        for file in files:
            found.setdefault(days_of(table.metadata, column, file) or NO_DAY, set()).add(file)
        return found

    came, went = by_span(after - before), by_span(before - after)
    return tuple(
        BranchWindow(
            window=None if span == NO_DAY else Window.of_days(*span),
            rows_added=rows_in(came.get(span, ())),
            rows_removed=rows_in(went.get(span, ())),
            on_main=came.get(span, set()) <= main and not went.get(span, set()) & main,
        )
        for span in sorted({*came, *went})
    )
