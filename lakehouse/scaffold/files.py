"""Files as candidates: which of them make up a table, their columns, and a sample of rows, read as a load reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import pyarrow as pa

from lakehouse.errors import SourceChanged
from lakehouse.scaffold.candidate import (
    SAMPLE_BYTES,
    SAMPLE_ROWS,
    Candidate,
    CandidateColumn,
    Refusal,
    Sample,
    table_word,
)
from lakehouse.settings import FilesSource, Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.tables import Column, Layer, LoadPolicy, Table, TableName

_FORMATS = {".csv", ".jsonl", ".ndjson", ".json", ".parquet"}
_GLOB = re.compile(r"[*?\[]")
_TAIL = re.compile(r"(?P<begin>.*?[^\W\d_].*?)(?P<separator>[-_. ]?)\d[\dTZ:_. -]*")
_MAX_BROKEN = 0.5


@dataclass(frozen=True)
class Files:
    """Where files lie: a folder, and for each table the pattern of its files, relative to the folder."""

    root: Path
    patterns: Mapping[str, str]


def find_files(source: str) -> Files:
    """The tables behind a path. Raises SourceChanged when there is no file of a known format.

    A file is a table, a pattern is one, and so are the files of a folder whose names differ only by a date or number at
    their end.
    """
    path = Path(source).expanduser().absolute()
    if _GLOB.search(source) and not path.exists():
        fixed = next(n for n, part in enumerate(path.parts) if _GLOB.search(part))
        root = Path(*path.parts[:fixed])
        pattern = str(Path(*path.parts[fixed:]))
        name = table_word(_GLOB.split(path.name)[0].strip("-_. ") or root.name)
        found = {name: pattern} if any(_readable(file) for file in root.glob(pattern)) else {}
    elif path.is_dir():
        root, found = path, _grouped(file for file in sorted(path.iterdir()) if _readable(file))
    else:
        root, found = path.parent, {table_word(_stem(path.name)): escape(path.name)} if _readable(path) else {}
    if not found:
        raise SourceChanged(
            f"there is nothing to read at {path}",
            expected=f"files that end in {', '.join(sorted(_FORMATS))}, or with .gz behind it",
            found="no such file" if not path.exists() else "other files",
            remedy="Mend the path; put a pattern in quotes, so that the shell leaves it as it is.",
        )
    return Files(root, found)


def file_candidates(
    settings: Settings, connection: str, files: Files, names: Sequence[str] | None
) -> Iterator[Candidate | Refusal]:
    """The tables of a folder, or those named. `settings` need not know the connection yet."""
    missing = sorted(set(names or ()) - set(files.patterns))
    if missing:
        raise SourceChanged(
            f"{files.root} has no files for {', '.join(missing)}",
            found=", ".join(files.patterns),
            remedy="Mend --tables, or name the files as a pattern.",
        )
    source = FilesSource(root=str(files.root))
    trial = settings.model_copy(update={"sources": {**settings.sources, connection: source}})
    for name, pattern in files.patterns.items():
        if names is None or name in names:
            yield _candidate(trial, connection, name, pattern)


def _grouped(files: Iterable[Path]) -> dict[str, str]:
    """Patterns by table. A name that ends in a date or number stands for all that begin as it does and go on so."""
    found: dict[str, str] = {}
    for file in files:
        stem = _stem(file.name)
        ending = file.name.removeprefix(stem)
        numbered = _TAIL.fullmatch(stem)
        begin = numbered["begin"] if numbered else stem
        pattern = escape(file.name)
        if numbered:
            pattern = f"{escape(begin + numbered['separator'])}[0-9]*{escape(ending)}"
        if pattern in found.values():
            continue
        word = table_word(begin)
        while word in found:
            word = f"{word}_{table_word(ending)}"
        found[word] = pattern
    return found


def _candidate(settings: Settings, connection: str, name: str, pattern: str) -> Candidate | Refusal:
    named = [column.name for column in open_source(settings, _table(connection, name, pattern, ())).columns()]
    # A load asks for the columns of the contract, so the sample does too.
    reader = open_source(settings, _table(connection, name, pattern, named))
    sample = _sample(reader)
    total = sample.rows.num_rows + sample.broken
    if not named or (total and sample.broken / total > _MAX_BROKEN):
        unread = f"{sample.broken:,} of the first {total:,} records cannot be read"
        return Refusal(
            pattern,
            unread if total else "there are no records in it",
            "Is it CSV with a header line, JSON with one object a line, or Parquet? Convert it, or mend the file.",
        )
    notes = [f"{sample.broken:,} records cannot be parsed: they go to the quarantine"] if sample.broken else []
    usable = [column for column in named if not column.startswith("_")]
    if len(usable) < len(named):
        left = ", ".join(sorted(set(named) - set(usable)))
        notes.append(f"left out, for names that begin with _ are the lakehouse's own: {left}")
    return Candidate(
        label=pattern,
        table=name,
        columns=tuple(CandidateColumn(column) for column in usable),
        options={"files": pattern},
        sample=sample,
        notes=tuple(notes),
    )


def _sample(reader: SourceReader) -> Sample:
    extract = reader.read(None)
    tables, rows, size, broken = [], 0, 0, 0
    complete = True
    for chunk in extract.chunks if extract else ():
        broken += len(chunk.broken)
        if chunk.rows.num_rows:
            tables.append(chunk.rows)
            rows, size = rows + chunk.rows.num_rows, size + chunk.rows.nbytes
        if rows > SAMPLE_ROWS or size > SAMPLE_BYTES:
            complete = False
            break
    # A slice of a table without columns has as many rows as were asked for.
    whole = pa.concat_tables(tables, promote_options="permissive").slice(0, SAMPLE_ROWS) if tables else pa.table({})
    return Sample(whole, complete, broken)


def _table(connection: str, name: str, pattern: str, columns: Sequence[str]) -> Table:
    return Table(
        name=TableName(Layer.BRONZE, name),
        domain="",
        description="",
        columns=tuple(Column(column, "string") for column in columns),
        file=Path(pattern),
        load=LoadPolicy(connection, {"files": pattern}),
    )


def _readable(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".") and file.name[len(_stem(file.name)) :] != ""


def _stem(name: str) -> str:
    """A file's name without its format's ending; the whole name where it has none that is known."""
    plain = name.removesuffix(".gz")
    ending = Path(plain).suffix
    return plain.removesuffix(ending) if ending in _FORMATS else name
