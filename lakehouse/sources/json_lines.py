"""JSON lines: one object a line, its values as text columns, so that the contract's types decide and not the parser's.

Strings are kept as they are, numbers with their original digits, true and false as words, and what is nested as JSON
text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.sources.lines import BYTES, MAX_LINE, ROWS, Lines, blocks
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
    """Records on their way into one chunk: `places` are their line numbers, or their coordinates."""

    records: list[dict[str, object]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    places: list[int | str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return len(self.records) + len(self.broken) >= ROWS or self.size >= BYTES


def json_lines(stream: BinaryIO, path: str, names: Sequence[str] | None) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns wanted; None takes every key. Coordinates are `path:line`."""
    batch, before = _Batch(), 0
    for block in blocks(stream):
        for number, line in _numbered(block, path, before):
            _take(batch, line, number, path)
            if batch.full:
                yield _chunk(batch, names, path)
                batch = _Batch()
        before += block.count(b"\n")
    if batch.records or batch.broken:
        yield _chunk(batch, names, path)


def _take(batch: _Batch, line: str | Broken, number: int, path: str) -> None:
    if isinstance(line, Broken):
        batch.size += len(line.payload)
        batch.broken.append(line)
        return
    batch.size += len(line)
    # Plain lines, as nearly all are, take the short way; the others the one that says what is wrong.
    try:
        record, end = _PLAIN.raw_decode(line)
    except _FAULTS:
        record, end = None, -1
    if end == len(line) and type(record) is dict and "\\u" not in line:
        batch.records.append(record)
        batch.texts.append(line)
        batch.places.append(number)
    elif stripped := line.strip():
        _add(batch, stripped, number, f"{path}:{number}")


def _numbered(block: bytes, path: str, before: int) -> Iterator[tuple[int, str | Broken]]:
    """The lines of a block with their numbers; those with a fault as broken records."""
    if len(block) <= MAX_LINE:
        try:
            text = block.decode("utf-8-sig" if before == 0 else "utf-8")
        except UnicodeDecodeError:
            pass
        else:
            yield from enumerate(text.split("\n"), start=before + 1)
            return
    lines = Lines(BytesIO(block), before=before)
    for line in lines:
        broken = None if lines.fault is None else Broken(lines.raw, f"{path}:{lines.number}", lines.fault)
        yield lines.number, broken or line


def parse(text: str) -> object:
    """Any JSON text, its numbers with their original digits. Raises ValueError and RecursionError."""
    return _NESTED.decode(text)


def objects(records: Iterable[tuple[object, str]], names: Sequence[str] | None) -> Chunk:
    """A chunk of records that `parse` has parsed, each with its coordinate."""
    batch = _Batch()
    for record, source in records:
        _add(batch, _dump(record), source, source)
    return _chunk(batch, names, None)


def _add(batch: _Batch, text: str, place: int | str, source: str) -> None:
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
    batch.places.append(place)


def _chunk(batch: _Batch, names: Sequence[str] | None, path: str | None) -> Chunk:
    keys = names if names is not None else list(dict.fromkeys(key for record in batch.records for key in record))
    rows = pa.table([_column(batch, key) for key in keys], names=list(keys))
    places = pa.array(batch.places, pa.string() if path is None else pa.int64())
    sources = places if path is None else pc.binary_join_element_wise(path, places.cast(pa.string()), ":")
    texts = pa.chunked_array([batch.texts], pa.string())
    return Chunk(rows, pa.chunked_array([sources]), tuple(batch.broken), texts)


def _column(batch: _Batch, key: str) -> pa.Array:
    values = [record.get(key) for record in batch.records]
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        # Something else than strings and numbers is among them.
        return pa.array([_text(value, key, text) for value, text in zip(values, batch.texts, strict=True)], pa.string())


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
