"""Texts that are plainly values of a column's type, cast by Arrow: to what SQL makes of them, in a tenth of the time.

A column goes this way as a whole, or not at all: with one value in it that is not plain, `casts.py` decides on all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_INTEGER, _DECIMAL, _FLOAT = b"-0123456789", b"-.0123456789", b"+-.0123456789eE"
_YEARS = ("0001-01-01T00:00:00", "9999-12-31T23:59:59.999999")
_SECONDS = len("2026-01-01 00:00")
"""Where a colon stands in a moment that has seconds: Arrow's parser also takes those that have none."""


def quick_cast(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray | None:
    """The texts as values of a type; None where one of them is not plain, or the type has no quick way."""
    if texts.type != pa.string() or (is_plain := _plain(kind)) is None:
        return None
    if not all(is_plain(piece) for piece in texts.chunks):
        return None
    try:
        values = texts.cast(kind)
    except pa.ArrowInvalid:
        return None
    return values if _in_range(values) else None


def _in_range(values: pa.ChunkedArray) -> bool:
    """Whether all values are within the range of `casts.py`: finite numbers, years 1 to 9999."""
    if pa.types.is_floating(values.type):
        return pc.all(pc.is_finite(values)).as_py() is not False
    if not pa.types.is_temporal(values.type):
        return True
    first, last = (pa.scalar(edge).cast(pa.timestamp("us")).cast(values.type) for edge in _YEARS)
    inside = pc.and_(pc.greater_equal(values, first), pc.less_equal(values, last))
    return pc.all(inside).as_py() is not False


def _plain(kind: pa.DataType) -> Callable[[pa.StringArray], bool] | None:
    """What has to be asked of texts before Arrow's parser, which takes more forms than a contract does."""
    if pa.types.is_date32(kind):
        return lambda _texts: True
    if kind in {pa.int32(), pa.int64()}:
        return lambda texts: _consists(texts, _INTEGER)
    if pa.types.is_decimal128(kind):
        return lambda texts: _consists(texts, _DECIMAL)
    if kind == pa.float64():
        return lambda texts: _consists(texts, _FLOAT)
    if kind in {pa.timestamp("us"), pa.timestamp("us", tz="UTC")}:
        return _have_seconds
    return None


def _consists(texts: pa.StringArray, of: bytes) -> bool:
    allowed = np.zeros(256, np.bool_)
    allowed[np.frombuffer(of, np.uint8)] = True
    letters, _ = _letters(texts)
    return bool(allowed[letters].all())


def _have_seconds(texts: pa.StringArray) -> bool:
    letters, begins = _letters(texts.drop_null())
    places = begins[:-1] + _SECONDS
    return bool((places < begins[1:]).all() and (letters[places] == ord(":")).all())


def _letters(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all texts, and where in them each begins; at last where they end."""
    _, bounds, data = texts.buffers()
    begins = np.frombuffer(bounds or bytes(4), np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"", np.uint8)[begins[0] : begins[-1]], begins - begins[0]
