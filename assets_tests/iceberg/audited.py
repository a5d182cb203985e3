"""A branch that is published, and an audit that a test watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg import LakeTable
from lakehouse.tables import TableName

BRANCH = "run/b"
RUN: Any = {"run_key": "b", "branch": BRANCH}
Foreign = Callable[[TableName], IcebergTable]
Ids = Callable[..., list[int]]


class Audits:
    """An audit that remembers which rows it saw, and does what a test wants done during it."""

    def __init__(self, table: LakeTable, ids: Ids) -> None:
        self.table, self.ids = table, ids
        self.seen: list[list[int]] = []
        self.during: list[Callable[[], object]] = []

    def __call__(self) -> None:
        self.seen.append(self.ids(self.table, branch=BRANCH))
        if self.during:
            self.during.pop(0)()


def files(table: LakeTable, foreign: Foreign, branch: str = "main") -> list[str]:
    """The data files of a branch, as stock PyIceberg tells them."""
    return sorted(task.file.file_path for task in foreign(table.name).scan().use_ref(branch).plan_files())
