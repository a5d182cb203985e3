"""JSON lines: one object a line, its values as text columns, so that the contract's types decide and not the parser's.

Strings are kept as they are, numbers with their original digits, true and false as words, and what is nested as JSON
text. Flat lines are taken apart in bulk (`flat_json.py`), the others one by one here, where it is said what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from itertools import accumulate
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.sources.flat_json import FlatLines, flat_lines, lines_of
from lakehouse.sources.json_text import PLAIN, dump, encodable, fields_of
from lakehouse.sources.lines import BLANK, BOM, BREAKS, BYTES, MAX_LINE, UTF8, Lines, TextFile, blocks, placed
from lakehouse.sources.reader import Broken, Chunk

_FAULTS = (ValueError, RecursionError, StopIteration)
"""What a decoder raises, and what its inner part raises for a text that does not begin like JSON."""
_NO_JSON = "\0 no text"


class _Fields:
    """Which keys of a record become columns (None: all of them), and which are known."""

    def __init__(self, names: Sequence[str] | None, ignore: Collection[str]) -> None:
        self.names = names
        self.known = frozenset((*(names or ()), *ignore))


@dataclass
class _Batch:
    """Records on their way into one chunk: `places` are their line numbers, or their coordinates."""

    records: list[dict[str, object]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    places: list[int | str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    flat: list[_Rows] = field(default_factory=list)
    lines: int = 0
    size: int = 0


class _Rows(NamedTuple):
    """Columns of values, and of each row its place, its text, and what it has beside known fields."""

    values: pa.Table
    about: pa.Table


def json_lines(
    stream: BinaryIO, file: TextFile, names: Sequence[str] | None, ignore: Collection[str] = ()
) -> Iterator[Chunk]:
    """The chunks of a file. `names` are the columns wanted, None takes every key; `ignore` are keys that no one wants.

    Coordinates are `path:line`.
    """
    batch, before = _Batch(), file.lines
    fields = _Fields(names, ignore)
    try:
        for at, block in blocks(stream, file.at):
            place = 0
            while place < len(block):
                some, lines = _first_lines(block[place:], file.rows - batch.lines)
                _take(batch, _Part(some, replace(file, lines=before, at=at + place)), fields)
                before, place = before + lines, place + len(some)
                batch.lines, batch.size = batch.lines + lines, batch.size + len(some)
                if batch.lines >= file.rows or batch.size >= BYTES:
                    yield _chunk(batch, fields, file.path)
                    batch = _Batch()
    except BREAKS:
        if batch.lines:
            yield _chunk(batch, fields, file.path)
        raise
    if batch.lines:
        yield _chunk(batch, fields, file.path)


def _first_lines(block: bytes, most: int) -> tuple[bytes, int]:
    """A block, or so many of its lines; and how many that are, one without an end included."""
    is_end = np.frombuffer(block, np.uint8) == ord("\n")
    lines = int(np.count_nonzero(is_end)) + (not block.endswith(b"\n"))
    if lines <= most:
        return block, lines
    ends = np.flatnonzero(is_end)
    return block[: ends[most - 1] + 1], most


class _Part:
    """A block of whole lines: what they are, and where each of them stands."""

    def __init__(self, block: bytes, file: TextFile) -> None:
        """`file` says what precedes the block."""
        self._block, self.file = block, file
        self.faults: dict[int, Broken] = {}
        self._begins: list[int] | None = None

    def taken_apart(self, fields: _Fields) -> FlatLines | None:
        """Its flat lines; None where some lines are no text."""
        if len(self._block) > MAX_LINE:
            return None
        first = self.file.lines == 0 and self.file.encoding == UTF8
        block = self._block.removeprefix(BOM) if first else self._block
        try:
            text = block.decode(self.file.encoding)
        except UnicodeDecodeError:
            return None
        return flat_lines(lines_of(block if self.file.encoding == UTF8 else text.encode()), fields.names, fields.known)

    def lines(self) -> Iterator[str]:
        """All lines, one by one; those that are no text stand in `faults`, and one that is no JSON in their place."""
        lines = Lines(BytesIO(self._block), self.file)
        return (text if lines.fault is None else self._faulty(place, lines) for place, text in enumerate(lines))

    def _faulty(self, place: int, line: Lines) -> str:
        self.faults[place] = self.broken(place, line.raw, line.fault or "")
        return _NO_JSON

    def broken(self, place: int, raw: bytes, error: str) -> Broken:
        """The line at this place (from 0) as a record that cannot be used."""
        if self._begins is None:
            lengths = (len(line) + 1 for line in self._block.split(b"\n"))
            self._begins = list(accumulate(lengths, initial=self.file.at))
        number = self.file.lines + place + 1
        return Broken(raw, f"{self.file.path}:{number}", placed(error, number, self._begins[place]))


def _take(batch: _Batch, part: _Part, fields: _Fields) -> None:
    first = part.file.lines + 1
    flat = part.taken_apart(fields)
    lines: Iterable[tuple[int, str]]
    if flat is None:
        lines = enumerate(part.lines())
    else:
        lines = zip(flat.others.tolist(), flat.other_texts.to_pylist(), strict=True)
        batch.flat.append(_Rows(flat.rows, _about(pa.array(flat.places + first), flat.texts, flat.extra)))
    scan: Callable[[str, int], tuple[object, int]] = PLAIN.scan_once  # type: ignore[attr-defined]  # all have it
    for place, line in lines:
        # Lines that nothing is wrong with take the short way; the others the one that says what is.
        try:
            record, end = scan(line, 0)
        except _FAULTS:
            record, end = None, -1
        if type(record) is dict and end == len(line) and "\\u" not in line:
            batch.records.append(record)
            batch.texts.append(line)
            batch.places.append(first + place)
        elif place in part.faults:
            batch.broken.append(part.faults[place])
        elif stripped := line.strip(BLANK):
            error = _add(batch, stripped, first + place)
            if error is not None:
                batch.broken.append(part.broken(place, stripped.encode(part.file.encoding), error))


def objects(
    records: Iterable[tuple[object, str]],
    names: Sequence[str] | None,
    ignore: Collection[str] = (),
    moved: Callable[[object], object] | None = None,
) -> Chunk:
    """A chunk of records that `json_text.parse` has parsed, each with its coordinate.

    `moved` makes of each the one whose fields are taken. The payload is the record that it was made of.
    """
    batch, payloads = _Batch(), list[str]()
    for record, source in records:
        payload = dump(record)
        error = _add(batch, payload if moved is None else dump(moved(record)), source)
        if error is None:
            payloads.append(payload)
        else:
            batch.broken.append(Broken(payload.encode(), source, error))
    return replace(_chunk(batch, _Fields(names, ignore), None), payload=pa.chunked_array([payloads], pa.string()))


def _add(batch: _Batch, text: str, place: int | str) -> str | None:
    """Take a record, or say what is wrong with it."""
    try:
        record = PLAIN.decode(text)
    except _FAULTS as error:
        return f"not JSON: {error}"
    if type(record) is not dict:
        return "not a JSON object"
    if "\\u" in text and not encodable(record):
        return "a \\u escape stands for half a character"
    batch.records.append(record)
    batch.texts.append(text)
    batch.places.append(place)
    return None


def _chunk(batch: _Batch, fields: _Fields, path: str | None) -> Chunk:
    rows = batch.flat if batch.flat and not batch.records else [*batch.flat, _one_by_one(batch, fields, path)]
    # In one piece, else all that follows would be done for each block.
    values = pa.concat_tables([some.values for some in rows], promote_options="default").combine_chunks()
    about = pa.concat_tables([some.about for some in rows]).combine_chunks()
    if batch.records and batch.flat and fields.names is not None:
        order = pc.sort_indices(about.column("place"))
        values, about = values.take(order), about.take(order)
    sources, texts, extra = about.columns
    sources = sources if path is None else pc.binary_join_element_wise(path, sources.cast(pa.string()), ":")
    return Chunk(values, sources, tuple(batch.broken), texts, None if extra.null_count == len(extra) else extra)


def _about(places: pa.Array, texts: pa.Array, extra: pa.Array) -> pa.Table:
    return pa.table({"place": places, "text": texts, "extra": extra})


def _one_by_one(batch: _Batch, fields: _Fields, path: str | None) -> _Rows:
    keys = fields.names
    if keys is None:
        keys = list(dict.fromkeys(key for record in batch.records for key in record))
    values = pa.table([_column(batch, key) for key in keys], names=list(keys))
    places = pa.array(batch.places, pa.string() if path is None else pa.int64())
    return _Rows(values, _about(places, pa.array(batch.texts, pa.string()), _extra(batch, fields)))


def _extra(batch: _Batch, fields: _Fields) -> pa.Array:
    """For each record what it has besides the fields that are known."""
    known = fields.known
    if fields.names is None or all(map(known.issuperset, batch.records)):
        return pa.nulls(len(batch.records), pa.string())
    pairs = zip(batch.records, batch.texts, strict=True)
    return pa.array(
        [None if known.issuperset(record) else _besides(text, known) for record, text in pairs], pa.string()
    )


def _besides(text: str, known: Collection[str]) -> str:
    return dump({key: value for key, value in fields_of(text).items() if key not in known})


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
    return dump(fields_of(line)[key])
