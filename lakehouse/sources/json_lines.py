"""JSON lines: one object a line, its values as text columns, so that the contract's types decide and not the parser's.

Strings are kept as they are, numbers with their original digits, true and false as words, and what is nested as JSON
text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa

from lakehouse.sources.lines import BYTES, ROWS, Lines
from lakehouse.sources.reader import Broken, Chunk

_FAULTS = (ValueError, RecursionError)


class _Number(str):
    """A number's own digits, told apart from a string inside a nested value."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    message = f"{name} is not JSON"
    raise ValueError(message)


_PLAIN = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
_NESTED = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)


@dataclass
class _Batch:
    """Records on their way into one chunk."""

    records: list[dict[str, object]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.records) + len(self.broken) >= ROWS or self.size >= BYTES


def json_lines(stream: BinaryIO, path: str, names: Sequence[str] | None) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns wanted; None takes every key. Coordinates are `path:line`."""
    lines, batch = Lines(stream), _Batch()
    for text in lines:
        source = f"{path}:{lines.number}"
        stripped = text.strip()
        if not stripped and lines.fault is None:
            continue
        batch.size += len(lines.raw)
        if lines.fault is not None:
            batch.broken.append(Broken(lines.raw, source, lines.fault))
        else:
            _add(batch, stripped, source)
        if batch.full:
            yield _chunk(batch, names)
            batch = _Batch()
    if batch.records or batch.broken:
        yield _chunk(batch, names)


def parse(text: str) -> object:
    """Any JSON text, its numbers with their original digits. Raises ValueError and RecursionError."""
    return _NESTED.decode(text)


def objects(records: Iterable[tuple[object, str]], names: Sequence[str] | None) -> Chunk:
    """A chunk of records that `parse` has parsed, each with its coordinate."""
    batch = _Batch()
    for record, source in records:
        _add(batch, _dump(record), source)
    return _chunk(batch, names)


def _add(batch: _Batch, text: str, source: str) -> None:
    try:
        record = _PLAIN.decode(text)
    except _FAULTS as error:
        batch.broken.append(Broken(text.encode(), source, f"not JSON: {error}"))
        return
    if type(record) is not dict:
        batch.broken.append(Broken(text.encode(), source, "not a JSON object"))
        return
    if "\\u" in text and not _encodable(record):
        batch.broken.append(Broken(text.encode(), source, "a \\u escape stands for half a character"))
        return
    batch.records.append(record)
    batch.texts.append(text)
    batch.sources.append(source)


def _chunk(batch: _Batch, names: Sequence[str] | None) -> Chunk:
    keys = names if names is not None else list(dict.fromkeys(key for record in batch.records for key in record))
    records = list(zip(batch.records, batch.texts, strict=True))
    arrays = [pa.array([_text(record.get(key), key, text) for record, text in records], pa.string()) for key in keys]
    rows = pa.table(arrays, names=list(keys))
    sources = pa.chunked_array([batch.sources], pa.string())
    return Chunk(rows, sources, tuple(batch.broken), pa.chunked_array([batch.texts], pa.string()))


def _text(value: object, key: str, line: str) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _dump(_NESTED.decode(line)[key])


def _dump(value: object) -> str:
    """A nested value as JSON text, its numbers with their original digits."""
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_dump(key)}: {_dump(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _encodable(record: dict[str, object]) -> bool:
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
