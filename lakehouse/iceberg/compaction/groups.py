"""Groups of files that become one: what is live of them now, and which cannot be compacted.

Which files belong together is decided by the caller. How their rows are read is `reads/sources.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

from pyiceberg.table import FileScanTask
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError
from lakehouse.iceberg.commits.progress import MAIN
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.selection.plan import ManifestsRead, Paths, Touched, plan
from lakehouse.tables import TableName


@dataclass(frozen=True)
class Group:
    """Live files whose rows are written anew together, and the delete files on them."""

    touched: tuple[Touched, ...]

    @cached_property
    def content(self) -> dict[str, frozenset[str]]:
        """Paths of the files, and of the delete files on each: as long as these stay, the rows do."""
        return {of.path: frozenset(str(file.file_path) for file in of.deletes) for of in self.touched}

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(int(of.file.file_size_in_bytes) for of in self.touched)

    @property
    def sequence(self) -> int:
        """The data sequence number of the last change to its rows."""
        return max(of.sequence for of in self.touched)

    @property
    def tasks(self) -> tuple[FileScanTask, ...]:
        """The files as PyIceberg's reader wants them."""
        return tuple(FileScanTask(of.file, set(of.deletes)) for of in self.touched)


@dataclass(frozen=True)
class Sorted:
    """Groups as they were asked for: those that can be done, how many are not there any more, why others cannot be."""

    groups: tuple[Group, ...]
    overtaken: int
    refused: tuple[str, ...]


def sort_out(table: IcebergTable, name: TableName, wanted: Sequence[Collection[str]], read: ManifestsRead) -> Sorted:
    """Find the files of groups on main. Raises CommitError for a file that is in two groups, CatalogError."""
    counts = Counter(chain.from_iterable(map(frozenset, wanted)))
    if twice := [path for path, count in counts.items() if count > 1]:
        raise CommitError(
            f"a file of {name} is in two groups: {min(twice)}",
            expected="each file in one group at most",
            remedy="Plan again: nothing was written.",
        )
    with catalog_errors(f"planning to compact {name}"):
        found = {of.path: of for of in plan(table.metadata, table.io, MAIN, Paths(counts), read).touched}
    groups: list[Group] = []
    refused: list[str] = []
    overtaken = 0
    for paths in filter(None, wanted):
        if not found.keys() >= set(paths):
            overtaken += 1
            continue
        touched = tuple(found[path] for path in dict.fromkeys(paths))
        if hidden := [of.path for of in touched if of.equality_deletes]:
            refused.append(
                f"{min(hidden)} is under equality deletes of another program, which has to compact it "
                "(e.g. with rewrite_data_files)"
            )
            continue
        groups.append(Group(touched))
    return Sorted(tuple(groups), overtaken, tuple(refused))


def stands(table: IcebergTable, name: TableName, group: Group) -> bool:
    """Whether main still has the group's files, and no other deletes on them. Raises BranchMissing, CatalogError."""
    with catalog_errors(f"planning to compact {name}"):
        return plan(table.metadata, table.io, MAIN, Paths(group.content)).content == group.content
