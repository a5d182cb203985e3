"""A reader of the tests' own, as a project would bring it: records in partitions, of which each has an offset.

The source's option `root` is a folder; each file of it is a partition, each line a JSON record. `partitions` says which
columns it describes, where it does. What was asked of it, it has written to `asked` in that folder's parent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from lakehouse.settings import OwnSource, Settings
from lakehouse.sources import Chunk, Extract, Options, SourceColumn
from lakehouse.tables import Position, Table


class PartitionedReader:
    """The position is `{partition: offset}`: how many of its records were read."""

    def __init__(self, settings: Settings, source: OwnSource, table: Table) -> None:
        Options.of(table, known=set())
        self._root = settings.state / str(source.options["root"])
        self._described = source.options.get("described", {})

    def read(self, since: Position | None) -> Extract | None:
        records = {path: path.read_text().splitlines() for path in sorted(self._root.iterdir())}
        reached: Position = {path.name: len(lines) for path, lines in records.items()}
        if reached == (since or {}):
            return None
        return Extract(self._chunks(records, since or {}), reached)

    def pending(self, since: Position | None) -> bool:
        return self.read(since) is not None

    def columns(self) -> tuple[SourceColumn, ...]:
        self._say("columns")
        return tuple(SourceColumn(name, kind, nullable=True) for name, kind in self._described.items())

    def _chunks(self, records: dict[Path, list[str]], since: Position) -> Iterator[Chunk]:
        for path, lines in records.items():
            for offset in range(int(str(since.get(path.name, 0))), len(lines)):
                self._say(f"{path.name}/{offset}")
                rows = pa.Table.from_pylist([json.loads(lines[offset])])
                yield Chunk(rows, f"{path.name}/{offset}")

    def _say(self, what: str) -> None:
        with (self._root.parent / "asked").open("a") as file:
            file.write(f"{what}\n")


class Unfinished:
    """No reader: it cannot tell its columns."""

    def read(self, since: Position | None) -> Extract | None: ...

    def pending(self, since: Position | None) -> bool: ...


class Choosy(PartitionedReader):
    """A reader that cannot be made."""

    def __init__(self, settings: Settings) -> None: ...


def reader() -> None:
    """Not a class."""
