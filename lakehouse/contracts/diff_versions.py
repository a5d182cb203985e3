"""Two versions of contracts on disk, paired: two files of one table, or two folders of many.

What a pair of versions means does not belong here (`diff.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lakehouse.contracts.diff import compare
from lakehouse.contracts.difference import Difference, Move
from lakehouse.contracts.read import read_tables, read_version
from lakehouse.errors import ContractError
from lakehouse.tables import Layer, TableName

_LAYERS = {Layer.BRONZE.value, Layer.SILVER.value, Layer.GOLD.value}


def compare_versions(old: Path, new: Path) -> Iterator[tuple[TableName, tuple[Difference, ...]]]:
    """The tables that differ, in order, with their differences.

    Of two files at least one stands at `<domain>/<layer>/<table>.yaml`, which says what table they are of. Raises
    ContractError for a version that does not compile, and for a file and a folder.
    """
    for path in (old, new):
        if not path.exists():
            raise ContractError(f"{path}:1: no such file or folder", remedy="Name two files, or two folders.")
    if old.is_dir() is not new.is_dir():
        raise ContractError(
            f"{new}:1: a file and a folder cannot be compared", found=f"{old} and {new}", remedy="Name two of a kind."
        )
    pairs = _of_folders(old, new) if old.is_dir() else _of_files(old, new)
    for name, differences in pairs:
        if differences:
            yield name, differences


def _of_files(old: Path, new: Path) -> Iterator[tuple[TableName, tuple[Difference, ...]]]:
    places = [path.absolute() for path in (new, old) if path.absolute().parent.name in _LAYERS]
    if not places:
        raise ContractError(
            f"{new}:1: nothing says which layer the table is of",
            expected="one of the two at <domain>/<layer>/<table>.yaml",
            remedy="Name the project's own file as NEW; OLD may have any name.",
        )
    before, after = read_version(old, places[0]), read_version(new, places[0])
    yield after.name, compare(before, after)


def _of_folders(old: Path, new: Path) -> Iterator[tuple[TableName, tuple[Difference, ...]]]:
    before, after = read_tables([old]), read_tables([new])
    for name in sorted({*before, *after}):
        if name not in after:
            yield name, (Difference("table", Move.REMOVED, "", True, "queries that name it fail"),)
        elif name not in before:
            yield name, (Difference("table", Move.ADDED, "", False, "queries do not name it yet"),)
        else:
            yield name, compare(before[name], after[name])
