"""What our commits say about themselves in a snapshot's summary, and how it is read back along a ref.

Nothing here writes: `commit.py` puts these keys into summaries and into the floor properties.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import MAIN_BRANCH
from pyiceberg.table.snapshots import Snapshot

from lakehouse.errors import BranchMissing, CatalogError, StateError
from lakehouse.tables import Position, TableName

MAIN = MAIN_BRANCH
FORMAT = "lakehouse.format"
"""Table property and summary key: the version of what this project keeps in a table and its snapshots."""
FORMAT_VERSION = "1"
PROGRESS = "lakehouse.progress"
RUN_KEY = "lakehouse.run-key"
READ = "lakehouse.read"
"""The key in a snapshot's summary: the snapshots that its rows were computed from, as a JSON object by table."""
READ_CONTENT = "lakehouse.read-content"
"""The key beside it: of those that are compactions, the snapshots whose rows they hold (see `content.py`)."""
FLOOR = "lakehouse.progress."
"""Prefix of the table properties that answer for a scope when no snapshot of ours is left on the ref."""

Progress: TypeAlias = Mapping[str, Position]
"""Positions by scope."""


def check_format(name: TableName, metadata: TableMetadata) -> None:
    """Raise StateError when the table's state was written by a later release, whose rules are not known here."""
    found = metadata.properties.get(FORMAT, FORMAT_VERSION)
    if not found.isdigit() or int(found) > int(FORMAT_VERSION):
        raise StateError(
            f"the state of {name} has format version {found}, and this release knows up to {FORMAT_VERSION}",
            expected=f"version {FORMAT_VERSION} or earlier",
            found=f"version {found}",
            remedy="Upgrade the `lakehouse` package: a newer one has written this table.",
        )


def head_of(metadata: TableMetadata, branch: str) -> Snapshot | None:
    """The newest snapshot of a branch; None for main of a table that was never written to. Raises BranchMissing."""
    if branch != MAIN and branch not in metadata.refs:
        raise BranchMissing(
            f"there is no branch {branch!r} at {metadata.location}",
            expected=f"one of {', '.join(sorted(metadata.refs)) or MAIN}",
            remedy="Create the branch first, or start the run again.",
        )
    return metadata.snapshot_by_name(branch)


def history(metadata: TableMetadata, head: Snapshot | None) -> Iterator[Snapshot]:
    """The snapshots from a head back to the oldest one that is kept, newest first."""
    # `metadata.snapshot_by_id` looks through all snapshots for each one.
    known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    while head is not None:
        yield head
        head = known.get(head.parent_snapshot_id) if head.parent_snapshot_id is not None else None


def progress_at(metadata: TableMetadata, head: Snapshot | None) -> dict[str, Position]:
    """Progress of every scope as seen from a snapshot.

    The newest summary of ours on its way back, for each commit of ours carries all scopes forward; the floor
    properties if foreign commits and expiry left none.
    """
    oldest = None
    for oldest in history(metadata, head):
        if (text := summary_of(oldest).get(PROGRESS)) is not None:
            return _decoded(text)
    if oldest is not None and oldest.sequence_number == 1:
        # Nothing has expired below: a ref that only foreign commits lead to has no progress, whatever main has.
        return {}
    floor = {key.removeprefix(FLOOR): text for key, text in metadata.properties.items() if key.startswith(FLOOR)}
    return {scope: _decoded(text) for scope, text in floor.items()}


def read_at(metadata: TableMetadata, head: Snapshot | None) -> dict[str, str]:
    """What the rows of a snapshot were computed from, as the newest summary on its way back says it."""
    told = next((said for past in history(metadata, head) if READ in (said := summary_of(past))), {})
    return {key: told[key] for key in (READ, READ_CONTENT) if key in told}


def find_run(metadata: TableMetadata, head: Snapshot | None, run_key: str) -> Snapshot | None:
    """The snapshot that a run key made on this ref, if it is there."""
    found = (past for past in history(metadata, head) if past.summary and past.summary.get(RUN_KEY) == run_key)
    return next(found, None)


def summary_of(snapshot: Snapshot) -> dict[str, str]:
    """Everything a snapshot says about itself, apart from its operation."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def encoded(progress: Mapping[str, object]) -> str:
    """A position, or the positions of all scopes, as a property holds them."""
    return json.dumps(progress, sort_keys=True, separators=(",", ":"))


def floor_properties(progress: Progress) -> dict[str, str]:
    """One property a scope: PyIceberg's retry keeps staged properties, so scopes must not share one."""
    return {FLOOR + scope: encoded(position) for scope, position in progress.items()}


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise CatalogError(
            "a snapshot's progress cannot be read",
            expected=f"a JSON object under {PROGRESS}",
            found=text[:200],
            remedy="Roll the table back to a snapshot that this project wrote.",
        )
    return value
