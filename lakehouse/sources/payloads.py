"""Rejected records parsed once more, from what was kept of them, as their source would be read by the contract of now.

Whether they are good is the door's business, what becomes of them that of `ingest/replay.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from lakehouse.settings import FilesSource, HttpSource, Settings
from lakehouse.sources.http_fields import Columns
from lakehouse.sources.json_lines import objects
from lakehouse.sources.json_text import parse
from lakehouse.sources.options import Options
from lakehouse.sources.reader import Broken, Chunk
from lakehouse.tables import Table

_UTF8 = "utf-8"


@dataclass(frozen=True)
class Payload:
    """What was kept of the record `name`: a text, its bytes where they are no UTF-8, and how many it had."""

    name: str
    text: str
    raw: bytes | None
    size: int


def parsed_again(settings: Settings, table: Table, payloads: Iterable[Payload]) -> Chunk:
    """The rows of these records, whose names are their coordinates.

    A payload is a JSON object: a line of such, a record of an API, or the values of a row. What is none, as a line of
    CSV that did not fit its header, or was cut, is broken as before. Raises ContractError for wrong `columns`.
    """
    encoding, moved = _how(settings, table)
    whole, broken = list[tuple[object, str]](), list[Broken]()
    for one in payloads:
        kept = one.text.encode() if one.raw is None else one.raw
        try:
            record = parse(one.text if one.raw is None else one.raw.decode(encoding))
        except (ValueError, LookupError, RecursionError) as error:
            cut = one.size > len(kept)
            said = f"only the first of its {one.size:,} bytes are kept" if cut else f"not JSON: {error}"
            broken.append(Broken(kept, one.name, said))
        else:
            whole.append((record, one.name))
    names = [*(column.name for column in table.source_columns), "_source_version"]
    ignored = table.load.ignored if table.load is not None else ()
    chunk = objects(whole, names, ignored, moved)
    return Chunk(chunk.rows, chunk.source, (*chunk.broken, *broken), chunk.payload, chunk.extra)


def moved_fields(settings: Settings, table: Table) -> Callable[[object], object] | None:
    """What makes of an API's record one with the contract's columns at its top; None where all stand there already."""
    if table.load is None or not isinstance(settings.sources.get(table.load.source), HttpSource):
        return None
    return Columns(Options(table, table.load)).of


def _how(settings: Settings, table: Table) -> tuple[str, Callable[[object], object] | None]:
    """The encoding of bytes, and how fields are moved."""
    source = settings.sources.get(table.load.source) if table.load is not None else None
    stated = table.load.options.get("encoding") if table.load is not None else None
    encoding = str(stated) if stated is not None and isinstance(source, FilesSource) else _UTF8
    return encoding, moved_fields(settings, table)
