"""What a compaction tells: its steps while it goes, and what it did in the end.

What is done stands in the other modules of this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lakehouse.iceberg.commits.outcome import Commit
from lakehouse.tables import TableName


class Phase(StrEnum):
    """How far a group of files has come."""

    WRITTEN = "written"
    """Its new files are in storage, and no snapshot knows them."""
    PROVED = "proved"
    """They hold the very rows of its old files."""
    COMMITTED = "committed"
    """They are the table's."""


@dataclass(frozen=True)
class CompactionStep:
    """One step of one group: the `group`th of `groups`, the paths of its new files, its live rows and input bytes."""

    table: TableName
    phase: Phase
    group: int
    groups: int
    files: tuple[str, ...]
    rows: int
    bytes: int


@dataclass(frozen=True)
class Compaction:
    """What a compaction did. Counts are of the groups that were committed; bytes on disk, seconds of the clock.

    `overtaken` groups had their files changed by other writers meanwhile: nothing is lost, the next compaction sees
    them again. `refused`: why groups could not be done, a sentence each. `row_hash`: the sum of the rows' hashes, in
    decimal. `rewrite_s` and `proof_s` count all groups, `proof_s` the reading of old and new files for their hashes.
    """

    table: TableName
    commits: tuple[Commit, ...] = ()
    groups: int = 0
    overtaken: int = 0
    refused: tuple[str, ...] = ()
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    rows: int = 0
    row_hash: str = "0"
    rewrite_s: float = 0.0
    proof_s: float = 0.0
