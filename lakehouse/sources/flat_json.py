"""JSON lines in bulk: those that are flat objects of plain values, as nearly all are, without a Python object for each.

A regular expression says which lines these are. In them every quote begins or ends a key or a string, so where the
quotes are tells where the values are, and a value is what stands there. All other lines (nested values, escapes, keys
with unusual letters, and whatever is wrong) are left to `json_lines.py`, which would say the same of those here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_STRING = r'"[^"\\\x00-\x1f]*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_PAIR = rf'"[A-Za-z0-9_.@$-]+": ?(?:{_STRING}|{_NUMBER}|true|false|null)'
_FLAT = rf"\A\{{{_PAIR}(?:, ?{_PAIR})*\}}\z"
_NEWLINE, _SPACE, _QUOTE, _COMMA, _COLON, _N, _BRACE = b'\n ",:n{'
_MOST_CELLS = 2**22
"""Of more keys times lines than this, the keys are no columns: they are values themselves."""

_Places: TypeAlias = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class FlatLines:
    """Flat lines: their values by key, as text, their own texts, and what each has beyond the keys that are known.

    `places` are their numbers in the block, from 0, and `others` those of the other lines, with their texts.
    """

    rows: pa.Table
    texts: pa.StringArray
    extra: pa.StringArray
    places: _Places
    others: _Places
    other_texts: pa.StringArray


def lines_of(block: bytes) -> pa.StringArray:
    """The lines of a block in UTF-8, without their ends."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == _NEWLINE)
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    begins = np.append(0, ends[:-1] + 1)
    return _take(_between(pa.py_buffer(block), begins, ends), np.arange(len(ends)))


def flat_lines(lines: pa.StringArray, names: Sequence[str] | None, known: Collection[str]) -> FlatLines:
    """Take lines apart: the keys `names` are wanted (None: every key), and those `known` are not extra."""
    matched = pc.match_substring_regex(lines, _FLAT)
    flat = matched.to_numpy(zero_copy_only=False)
    pairs = _Pairs(lines if flat.all() else lines.filter(matched))
    if len(pairs.keys) * pairs.lines > _MOST_CELLS:
        flat = np.zeros_like(flat)
        pairs = _Pairs(lines[:0])
    wanted = pairs.keys if names is None else names
    rows = pa.table([pairs.values(key) for key in wanted], names=list(wanted))
    extra = pairs.objects([] if names is None else [key for key in pairs.keys if key not in known])
    others = np.flatnonzero(~flat)
    return FlatLines(rows, pairs.texts, extra, np.flatnonzero(flat), others, lines.take(pa.array(others)))


class _Pairs:
    """The pairs of key and value in flat lines. Of a key that a line has twice, the later value counts."""

    def __init__(self, texts: pa.StringArray) -> None:
        self.texts, self.lines = texts, len(texts)
        data = texts.buffers()[2] or pa.py_buffer(b"")
        letters = np.frombuffer(data, np.uint8, count=pc.sum(pc.binary_length(texts)).as_py() or 0)
        quotes = np.flatnonzero(letters == _QUOTE)
        opened, closed = quotes[0::2], quotes[1::2]
        is_key = letters[closed + 1] == _COLON
        opened, closed = opened[is_key], closed[is_key]
        # What stands before a key: a brace in the first pair of a line, else a comma, or a space behind one.
        before = letters[opened - 1]
        begins = closed + 2
        begins += letters[begins] == _SPACE
        # A value ends at the comma before the next key, or at its line's brace, which stands before the next line's.
        ends = np.append(opened[1:] - 1 - (before[1:] != _COMMA), len(letters) - 1)[: len(opened)]
        first = letters[begins]
        quoted = first == _QUOTE
        self._written, self._meant = _between(data, begins, ends), _between(data, begins + quoted, ends - quoted)
        keys, self._pairs = _numbered(data, opened, closed, before == _BRACE)
        self._places = {key: place for place, key in enumerate(keys)}
        self.keys = list(self._places)
        null = first == _N
        self._filled = np.where(null[self._pairs], -1, self._pairs) if null.any() else self._pairs

    def values(self, key: str) -> pa.StringArray:
        """The value of each line, as text without quotes; NULL for null, and where the key is not there."""
        if key not in self._places:
            return pa.nulls(self.lines, pa.string())
        return _take(self._meant, self._filled[self._places[key]])

    def objects(self, keys: Sequence[str]) -> pa.StringArray:
        """These keys of each line with their values, as a JSON object; NULL for a line that has none of them."""
        if not keys:
            return pa.nulls(self.lines, pa.string())
        parts = [
            pc.binary_join_element_wise(f', "{key}": ', _take(self._written, self._pairs[self._places[key]]), "")
            for key in keys
        ]
        inner = pc.binary_join_element_wise(*(pc.fill_null(part, "") for part in parts), "")
        inner = pc.if_else(pc.equal(inner, ""), None, pc.utf8_slice_codeunits(inner, 2))
        return pc.binary_join_element_wise("{", inner, "}", "")


def _numbered(
    data: pa.Buffer, opened: _Places, closed: _Places, begins: npt.NDArray[np.bool_]
) -> tuple[list[str], _Places]:
    """The keys between these quotes, and for each key and line the number of its pair there, or -1.

    `begins` says which pairs are the first of their lines.
    """
    lines, count = np.count_nonzero(begins), len(opened)
    keys = _take(_between(data, opened + 1, closed), np.arange(count))
    if lines and not count % lines and begins[:: count // lines].all():
        first = keys[: count // lines]
        if _repeated(first, keys):
            # All lines have the keys of the first one in its order, as a program writes them.
            return first.to_pylist(), np.arange(count).reshape(lines, -1).T
    found = keys.dictionary_encode()
    numbers = np.full((len(found.dictionary), lines), -1)
    numbers[found.indices.to_numpy(), np.cumsum(begins) - 1] = np.arange(count)
    return found.dictionary.to_pylist(), numbers


def _repeated(part: pa.StringArray, whole: pa.StringArray) -> bool:
    """Whether the whole is nothing but this beginning of it, again and again: by lengths, and by letters."""
    lengths = pc.binary_length(whole).to_numpy().reshape(-1, len(part))
    if (lengths != lengths[0]).any():
        return False
    size = int(lengths[0].sum())
    letters = np.frombuffer(whole.buffers()[2], np.uint8, size * len(lengths)).reshape(-1, size)
    return bool((letters == letters[0]).all())


def _between(data: pa.Buffer, begins: _Places, ends: _Places) -> pa.StringArray:
    """The texts between places of a buffer, which ascend, at even numbers: what is between them is at odd ones."""
    bounds = np.empty(2 * len(begins), np.int32)
    bounds[0::2], bounds[1::2] = begins, ends
    return pa.StringArray.from_buffers(max(len(bounds) - 1, 0), pa.py_buffer(bounds), data)


def _take(texts: pa.StringArray, wanted: _Places) -> pa.StringArray:
    """Texts that are `_between` others, by their number among them; NULL for -1."""
    missing = wanted < 0
    return texts.take(pa.array(2 * wanted, mask=missing if missing.any() else None))
