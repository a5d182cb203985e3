"""Rebase: the appends of a branch made again on top of main's head. The same data files; nothing is rewritten.

Whether and when that is done is `publish.py`. Work that took files away is not re-based but run again.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import structlog
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import BranchMissing, CatalogError, CommitConflict, Fenced, PublishConflict, RunKeyTooOld
from lakehouse.iceberg.commits.commit import commit_append
from lakehouse.iceberg.commits.content import CONTENT
from lakehouse.iceberg.commits.intent import Intent
from lakehouse.iceberg.commits.outcome import Commit, merged, nothing_new
from lakehouse.iceberg.commits.past_progress import progress_as_of
from lakehouse.iceberg.commits.progress import (
    FORMAT,
    MAIN,
    PROGRESS,
    RUN_KEY,
    Progress,
    head_of,
    history,
    summary_of,
)
from lakehouse.iceberg.commits.sidecar import TOMBSTONES, sidecar_at
from lakehouse.iceberg.reads.manifests import entries_in
from lakehouse.iceberg.refs.branch import SCRATCH, age_of, create_branch, discard, refuse_main
from lakehouse.iceberg.refs.staged import Staged, added_by, staged
from lakehouse.iceberg.refs.swap import Swap, branch_at, stands_at, swap
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

SOURCE = "source-snapshot-id"
"""The key that Iceberg's Java library gives to a cherry-picked snapshot: which one it was made from."""
_SCRATCH_AGE = timedelta(days=1)
_OWN_KEYS = {CONTENT, FORMAT, PROGRESS, RUN_KEY, TOMBSTONES}

Work = Sequence[tuple[Snapshot, Sequence[DataFile]]]
"""Snapshots of a branch, each with the data files that it added."""


def rebase(
    table: IcebergTable, name: TableName, branch: str, *, audited: int | None = None, onto: int | None = None
) -> Commit:
    """Put a branch's appends on top of main's head; the branch then stands at the new snapshot, which is the commit's.

    Each snapshot of the branch is made again as one, so that its run key and its progress stay its own; progress is
    fenced against main. A branch that stands on main's head stays as it is. `audited`, `onto`: the only heads of
    the branch and of main that will do. Until the one swap that moves the branch,
    all happens on a scratch branch; one that a killed process left is dropped by a
    later rebase, after a day. Raises PublishConflict (the branch is as it
    was) when the branch holds more than appends, main moved a scope that it moves too or holds files of the branch
    already, or the branch moved meanwhile; BranchMissing, CommitConflict, CatalogError.
    """
    refuse_main(branch)
    table.refresh()
    beside = staged(table.metadata, name, branch)
    if audited not in {None, beside.head.snapshot_id}:
        raise conflict(name, branch, expected=f"its head at {audited}", found=f"{beside.head.snapshot_id}, unaudited")
    if beside.is_next or beside.is_on_main:
        return nothing_new(name, branch, beside.head)
    _check(table.metadata, beside, name, branch)
    with _there(table, name, branch):
        # Oldest first. Should the branch go from here on, the swap at the end tells.
        work = [(past, added_by(past, table.io)) for past in reversed(beside.ahead)]
        _refuse_taken(beside, work, table.io, name, branch)
    scratch = f"{SCRATCH}{uuid.uuid4().hex[:12]}"
    _sweep(table, name)
    create_branch(table, name, scratch)
    try:
        base = _head_id(table.metadata, scratch)
        if onto not in {None, base}:
            raise conflict(name, branch, expected=f"main at {onto}", found=f"main at {base}")
        made = _replayed(table, name, work, branch, scratch)
        table.refresh()
        head = _head_id(table.metadata, scratch)
        swap(table, name, lambda metadata: _move(metadata, name, branch, beside, head))
    finally:
        _drop(table, name, scratch)
    return merged(made, operation="rebase", snapshot_id=head, parent_id=base)


def replay(  # noqa: PLR0913  (what is made again, where, and what of it)
    table: IcebergTable,
    name: TableName,
    snapshot: Snapshot,
    ref: str,
    *,
    files: Sequence[DataFile],
    but: Collection[str] = (),
) -> Commit:
    """Make one snapshot of a branch again at the end of a ref: these files of it, its run key, the progress it moved.

    Scopes of `but` stay as the ref has them. Raises Fenced when the ref moved another such scope itself,
    CommitConflict, CatalogError.
    """
    before, all_moved = _moved(table.metadata, snapshot)
    moved = {scope: position for scope, position in all_moved.items() if scope not in but}
    said = summary_of(snapshot)
    ours = {key: value for key, value in said.items() if key.startswith("lakehouse.") and key not in _OWN_KEYS}
    intent = Intent(
        name,
        said.get(RUN_KEY),
        ref,
        moved,
        {scope: before.get(scope) for scope in moved},
        {**ours, SOURCE: str(snapshot.snapshot_id)},
        datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
    )
    return commit_append(table, intent, files)


def says_something(metadata: TableMetadata, snapshot: Snapshot) -> bool:
    """Whether a snapshot carries a run key or moved progress, and so means something without its files."""
    return RUN_KEY in summary_of(snapshot) or bool(_moved(metadata, snapshot)[1])


def moved_by(metadata: TableMetadata, snapshot: Snapshot) -> frozenset[str]:
    """The scopes whose progress a snapshot moved."""
    return frozenset(_moved(metadata, snapshot)[1])


def _moved(metadata: TableMetadata, snapshot: Snapshot) -> tuple[Progress, Progress]:
    """Progress below a snapshot, and the positions that it moved."""
    before, then = progress_as_of(metadata, _below(metadata, snapshot)), progress_as_of(metadata, snapshot)
    return before, {scope: position for scope, position in then.items() if before.get(scope) != position}


def _moved_tombstones(metadata: TableMetadata, snapshot: Snapshot) -> bool:
    """Whether a snapshot names other deleted keys than the one that it was built on."""
    return sidecar_at(metadata, snapshot) != sidecar_at(metadata, _below(metadata, snapshot))


def _below(metadata: TableMetadata, snapshot: Snapshot) -> Snapshot | None:
    """What a snapshot was built on, if it is kept."""
    return next((past for past in history(metadata, snapshot) if past.snapshot_id != snapshot.snapshot_id), None)


def _check(metadata: TableMetadata, beside: Staged, name: TableName, branch: str) -> None:
    if beside.fork is None:
        found = "a branch whose beginning has expired"
    elif not beside.ahead:
        found = "a branch without work of its own, on a state that main was taken back from"
    elif not beside.appends_only:
        found = "a branch that replaced or deleted rows"
    elif beside.partly_published:
        # Its files would come to main a second time.
        found = "a branch of which windows were published already"
    elif any(_moved_tombstones(metadata, past) for past in beside.ahead):
        found = "a branch that remembers deleted keys of its own"
    else:
        return
    raise conflict(name, branch, expected="a branch of appends, to be put on top of main", found=found)


@contextmanager
def _there(table: IcebergTable, name: TableName, branch: str) -> Iterator[None]:
    """What is read of a branch. An expiry that drops it in this moment deletes its files: then BranchMissing."""
    try:
        yield
    except FileNotFoundError as error:
        table.refresh()
        head_of(table.metadata, branch)
        raise CatalogError(
            f"a file of branch {branch!r} of {name} is gone",
            found=str(error),
            remedy="Nothing was published. Restore the file, or discard the branch and run again.",
        ) from error


def _refuse_taken(beside: Staged, work: Work, io: FileIO, name: TableName, branch: str) -> None:
    """Another program may have brought the branch's files to main, as Spark's `cherrypick_snapshot` does."""
    own = {file.file_path for _, files in work for file in files}
    since = (beside.fork.sequence_number or 0) if beside.fork else 0
    taken = sorted(
        entry.data_file.file_path
        for manifest in beside.main.manifests(io)
        # What came to main since has a manifest that came since.
        if (manifest.sequence_number or 0) > since and manifest.content == ManifestContent.DATA
        for entry in entries_in(io, manifest)
        if entry.data_file.file_path in own
    )
    if taken:
        found = f"{len(taken)} of them on main by another program, {taken[0]} is one"
        raise conflict(name, branch, expected="a branch whose files main has not", found=found)


def _replayed(table: IcebergTable, name: TableName, work: Work, branch: str, scratch: str) -> list[Commit]:
    try:
        return [replay(table, name, past, scratch, files=files) for past, files in work]
    except Fenced as error:
        raise conflict(name, branch, expected=f"progress at {error.expected}", found=f"{error.found} on main") from None
    except (CommitConflict, RunKeyTooOld, BranchMissing) as error:
        raise conflict(name, branch, expected="files that fit the table as it is", found=error.what) from None


def _move(metadata: TableMetadata, name: TableName, branch: str, beside: Staged, to: int) -> Swap | None:
    at = _head_id(metadata, branch)
    if at == to:
        return None
    if at != beside.head.snapshot_id:
        raise conflict(name, branch, expected=f"its head at {beside.head.snapshot_id}", found=str(at))
    return (stands_at(branch, at),), (branch_at(branch, to),)


def _head_id(metadata: TableMetadata, branch: str) -> int:
    """Where a branch points. Raises BranchMissing."""
    head_of(metadata, branch)
    return metadata.refs[branch].snapshot_id


def _sweep(table: IcebergTable, name: TableName) -> None:
    """Drop the scratch branches of processes that died; commits take a ref's own limit of age away."""
    for ref, at in table.metadata.refs.items():
        if ref.startswith(SCRATCH) and age_of(table.metadata, at.snapshot_id) > _SCRATCH_AGE:
            _drop(table, name, ref)


def _drop(table: IcebergTable, name: TableName, scratch: str) -> None:
    try:
        discard(table, name, scratch)
    except CommitConflict:
        # What was asked for is done or has failed for a better reason; a later rebase drops it.
        _log.warning("scratch branch left behind", table=str(name), branch=scratch)


def conflict(name: TableName, branch: str, *, expected: str, found: str) -> PublishConflict:
    """The refusal that leaves branch and main as they are."""
    return PublishConflict(
        f"{MAIN} of {name} moved since branch {branch!r} was made, or the branch did",
        expected=expected,
        found=found,
        remedy="The branch is kept for inspection. Discard it and run again.",
    )
