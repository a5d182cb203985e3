"""Which way the rows that go leave each data file: the file is written anew, or a delete file hides them.

How a file is written anew is `rewrite.py`; how rows are hidden, `deletes/write.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lakehouse.iceberg.merge.rules import Way

SMALL_BYTES = 2**20
"""Writing 1 MiB anew takes 0.04 s of CPU once (187 MB in 8 s); a delete file costs every reader 3 ms."""
MOST_HIDDEN = 0.3
"""Hidden rows are read for nothing by everybody. Iceberg's `rewrite_data_files` writes a file anew from that share on
(its option `delete-ratio-threshold`, since 1.8)."""


@dataclass(frozen=True)
class Loss:
    """A data file that loses rows: how many it has, in how many bytes; how many are `hidden`, and `gone` now."""

    rows: int
    bytes: int
    hidden: int
    gone: int


def ways(losses: Iterable[Loss], forced: Way | None = None) -> list[Way]:
    """The way for each file, in their order: `forced`, if it is given.

    A file of which no row is left is always "written anew", for nothing is written then.
    """
    return [_way(loss, forced) for loss in losses]


def _way(loss: Loss, forced: Way | None) -> Way:
    unseen = loss.hidden + loss.gone
    if unseen >= loss.rows:
        return Way.COPY_ON_WRITE
    if forced is not None:
        return forced
    if loss.bytes <= SMALL_BYTES or unseen > MOST_HIDDEN * loss.rows:
        return Way.COPY_ON_WRITE
    return Way.MERGE_ON_READ
