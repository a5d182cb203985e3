"""Folders of contracts become Declarations: `<folder>/<domain>/<layer>/<table>.yaml`, one file a table.

The path says domain, layer and name. What one file means stands in `compile.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lakehouse.contracts.compile import Compiled, compile_table
from lakehouse.contracts.document import Document
from lakehouse.contracts.expressions import check_names
from lakehouse.contracts.follows import check_follow
from lakehouse.contracts.relationships import check_target
from lakehouse.contracts.standard import parse_contract
from lakehouse.errors import ContractError
from lakehouse.tables import Layer, Table, TableName, TableRuleKind

_WORD = re.compile(r"[a-z][a-z0-9_]*")
_LAYERS = (Layer.BRONZE, Layer.SILVER, Layer.GOLD)
_DEPTH = 3


class Declarations(Mapping[TableName, Table]):
    """All declared tables by name, in the order of their names (bronze, gold, silver). Never changes."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = {table.name: table for table in sorted(tables, key=lambda table: table.name)}

    def __getitem__(self, name: TableName) -> Table:
        return self._tables[name]

    def __iter__(self) -> Iterator[TableName]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def __repr__(self) -> str:
        return f"Declarations({', '.join(map(str, self))})"

    def by_domain(self, domain: str) -> tuple[Table, ...]:
        """The tables of a domain, in order."""
        return tuple(table for table in self.values() if table.domain == domain)

    def layer(self, layer: Layer) -> tuple[Table, ...]:
        """The tables of a layer, in order."""
        return tuple(table for table in self.values() if table.name.layer is layer)


def read_tables(folders: Sequence[Path]) -> Declarations:
    """Read every contract below the folders. Raises ContractError, with `file:line`, for the first mistake."""
    declared, mistakes = read_all(folders)
    if mistakes:
        raise mistakes[0]
    return declared


def read_all(folders: Sequence[Path]) -> tuple[Declarations, tuple[ContractError, ...]]:
    """The tables of the contracts that compile, and the mistakes of all of them, file by file, then between files."""
    found: dict[TableName, Compiled] = {}
    broken: set[TableName] = set()
    mistakes: list[ContractError] = []
    for folder in folders:
        try:
            files = _files(folder)
        except ContractError as error:
            mistakes.append(error)
            continue
        for path in files:
            try:
                name = _name(folder, path)
                if name in found:
                    raise _second(path, name, found[name])
                broken.add(name)
                found[name] = _read(path, name, path.relative_to(folder).parts[0])
                broken.remove(name)
                mistakes += found[name].mistakes
            except ContractError as error:
                mistakes.append(error)
    declared = Declarations(compiled.table for compiled in found.values())
    return declared, (*mistakes, *_unlinked(found.values(), declared, broken))


def read_version(path: Path, place: Path) -> Table:
    """One contract by itself, from wherever its file is, as that of the table whose contract stands at `place`.

    What it says about other tables is not checked. Raises ContractError.
    """
    compiled = _read(path, _name(place.parents[2], place), place.parents[1].name)
    if compiled.mistakes:
        raise compiled.mistakes[0]
    return compiled.table


def _second(path: Path, name: TableName, first: Compiled) -> ContractError:
    return ContractError(
        f"{path}:1: a second contract for {name}",
        found=f"the first in {first.table.file}",
        remedy="Remove one of the two files, or rename one table.",
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ContractError(
            f"{folder}:1: no such folder", remedy="Correct `defs` in [tool.lakehouse], or make the folder."
        )
    return sorted(path for path in folder.rglob("*") if path.suffix in {".yaml", ".yml"} and path.name[0] != ".")


def _name(folder: Path, path: Path) -> TableName:
    """The table that a file's place says."""
    parts = path.relative_to(folder).with_suffix("").parts
    if len(parts) != _DEPTH or path.suffix != ".yaml":
        raise ContractError(
            f"{path}:1: the file is in the wrong place",
            expected=f"{folder}/<domain>/<layer>/<table>.yaml",
            remedy="Move it there; the path says domain, layer and name of the table.",
        )
    domain, layer, table = parts
    if layer not in _LAYERS:
        raise ContractError(
            f"{path}:1: unknown layer {layer!r}",
            expected=f"a folder named {', '.join(known.value for known in _LAYERS)}",
            remedy="Move the file into the folder of its layer.",
        )
    for word in (domain, table):
        if not _WORD.fullmatch(word):
            raise ContractError(
                f"{path}:1: {word!r} is not a name", expected="a-z, 0-9 and _, a letter first", remedy="Rename it."
            )
    return TableName(Layer(layer), table)


def _read(path: Path, name: TableName, domain: str) -> Compiled:
    document = Document.read(path)
    return compile_table(parse_contract(document), name, domain, document.top)


def _unlinked(
    compiled: Iterable[Compiled], declared: Declarations, broken: Collection[TableName]
) -> Iterator[ContractError]:
    """The mistakes in what contracts say about other tables; of tables whose contract is `broken` nothing is known."""
    columns = {name: tuple(column.name for column in table.stored_columns) for name, table in declared.items()}
    for one in compiled:
        for rule in one.table.table_rules:
            place = one.places[rule.name]
            try:
                if rule.kind is TableRuleKind.RELATIONSHIP and rule.arguments["to"] not in broken:
                    check_target(rule, columns, place)
                elif rule.kind is TableRuleKind.SQL:
                    check_names(str(rule.arguments["query"]), one.table.name, declared, place / "query", broken)
            except ContractError as error:
                yield error
        for position, follow in enumerate(one.table.follows):
            if one.follows is not None:
                try:
                    check_follow(follow, one.table, declared, one.follows / position, broken)
                except ContractError as error:
                    yield error
