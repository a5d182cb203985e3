"""JSON texts parsed and written without losing anything: a number keeps its own digits.

Which records a text holds, and which of their fields are wanted, is `json_lines.py`'s business.
"""

from __future__ import annotations

import json


class _Number(str):
    """A number's own digits, told apart from a string inside a nested value."""

    __slots__ = ()


def _no_constant(name: str) -> object:
    message = f"{name} is not JSON"
    raise ValueError(message)


PLAIN = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)
"""Makes of numbers their digits, as strings: for records whose values are plain ones."""
_NESTED = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_no_constant)


def parse(text: str) -> object:
    """Any JSON text, its numbers with their original digits. Raises ValueError and RecursionError."""
    return _NESTED.decode(text)


def fields_of(text: str) -> dict[str, object]:
    """The same of a text that is known to be an object."""
    found = _NESTED.decode(text)
    assert isinstance(found, dict)  # noqa: S101  (for the type checker)
    return found


def dump(value: object) -> str:
    """A nested value as JSON text, its numbers with their original digits."""
    try:
        return _dump(value)
    except RecursionError:
        # Nested in hundreds of levels, which only the library's own code can follow: numbers become strings.
        return json.dumps(value, ensure_ascii=False)


def _dump(value: object) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ", ".join([f"{_dump(key)}: {_dump(inner)}" for key, inner in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_dump, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def encodable(record: dict[str, object]) -> bool:
    """Whether it can be written as UTF-8: an escape may stand for half a character."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
