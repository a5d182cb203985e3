"""A large set of paths in little memory. What they lead to does not belong here.

Imported by its own name: nobody else needs PyArrow to list a store.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

_FRESH = 1 << 14
"""Members that are looked through before they are sorted in."""


class Digests:
    """Texts by digests of 8 bytes.

    What was put in is always found. Another text is found too with a chance of n in 2^64 among n: for a million, once
    in eighteen million million looks.
    """

    def __init__(self) -> None:
        self._sorted = memoryview(b"").cast("Q")
        self._fresh: set[int] = set()

    def add(self, text: str) -> None:
        """Put a text in."""
        self._fresh.add(digest(text))
        if len(self._fresh) > max(_FRESH, len(self._sorted) // 8):
            self._sort_in()

    def __contains__(self, text: str) -> bool:
        """Whether it was put in."""
        wanted = digest(text)
        if wanted in self._fresh:
            return True
        place = bisect_left(self._sorted, wanted)
        return place < len(self._sorted) and self._sorted[place] == wanted

    def _sort_in(self) -> None:
        both = pa.concat_arrays([_column(self._sorted), _column(array("Q", self._fresh))])
        self._fresh = set()
        self._sorted = memoryview(pc.unique(both).sort().buffers()[1]).cast("B").cast("Q")


def digest(text: str) -> int:
    """A number of 8 bytes. Names that a disk has and that are no UTF-8 have one too."""
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "little")


def _column(numbers: memoryview | array[int]) -> pa.UInt64Array:
    return pa.Array.from_buffers(pa.uint64(), len(numbers), [None, pa.py_buffer(numbers)])
