"""Which columns Parquet files have, as DuckDB names and types them, by field id.

What is read of the files is `sources.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

_VIRTUAL = frozenset({"filename", "file_index", "file_row_number"})
"""Columns that DuckDB adds to those of a file, unless the file has one of that name."""

Line: TypeAlias = tuple[str, str, int | None, str | None, int | None]
"""Path, name, field id, type and number of children of a column of `parquet_schema`."""
LINES = (
    "SELECT file_name, name, field_id, duckdb_type, num_children FROM parquet_schema([{paths}])"
    " ORDER BY file_name, column_id"
)


@dataclass(frozen=True)
class Columns:
    """The top-level columns of a file: names and types by field id; None stands for columns without one.

    The type of a nested column is None.
    """

    found: Mapping[int | None, tuple[str, str | None]]
    names: Collection[str]

    @property
    def told_apart(self) -> bool:
        """Whether each can be asked for by its name: DuckDB takes names that differ in case only for one."""
        folded = {name.lower() for name in self.names}
        return len(folded) == len(self.names) and not folded & _VIRTUAL

    def named(self, types: Mapping[int, str]) -> tuple[str, ...] | None:
        """The names of columns, if all are there, of these types, and can be asked for by name; else None."""
        names = [self.found.get(field_id, ("", None)) for field_id in types]
        same = all(kind == wanted for (_, kind), wanted in zip(names, types.values(), strict=True))
        return tuple(name for name, _ in names) if same and self.told_apart and None not in self.found else None


def columns_of(lines: Iterable[Line]) -> dict[str, Columns]:
    """The top-level columns of each file, of the answer to `LINES`: each column comes before its children."""
    files: dict[str, list[Line]] = {}
    for line in lines:
        files.setdefault(line[0], []).append(line)
    return {path: _top(of) for path, of in files.items()}


def _top(lines: Sequence[Line]) -> Columns:
    found: dict[int | None, tuple[str, str | None]] = {}
    names: list[str] = []
    # The first is the file itself; of each column of the top, all that lies in it is skipped.
    inside = 0
    for _, name, field_id, kind, children in lines[1:]:
        if not inside:
            found[field_id] = (name, None if children else kind)
            names.append(name)
        else:
            inside -= 1
        inside += children or 0
    return Columns(found, names)
