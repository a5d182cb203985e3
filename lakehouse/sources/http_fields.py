"""Values of JSON by their paths: `$.money.amount`, `money.amount`, `lines[0].price`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lakehouse.sources.options import Options

_PART = re.compile(r"[^.\[\]]+")


def dig(value: object, path: str) -> object:
    """What stands at a path, None for nothing."""
    return _dig(value, _parts(path))


class Columns:
    """The option `columns`: which columns of the contract stand elsewhere in a record than at the top."""

    def __init__(self, options: Options) -> None:
        stated = options.policy.options.get("columns", {})
        known = {column.name for column in options.table.source_columns}
        right = isinstance(stated, dict) and all(
            name in known and isinstance(path, str) and _parts(path) for name, path in stated.items()
        )
        if not right:
            raise options.wrong(
                "columns",
                expected="a path for each of some columns of the contract, as {amount: $.money.amount}",
                found=repr(stated),
                remedy="Mend it.",
            )
        self._paths = {name: _parts(path) for name, path in stated.items()} if isinstance(stated, dict) else {}

    def of(self, record: object) -> object:
        """The record with these values at its top, under their columns' names, and with all else that it has.

        What is no JSON object stays as it is.
        """
        if not self._paths or not isinstance(record, dict):
            return record
        found = {name: _dig(record, path) for name, path in self._paths.items()}
        rest: dict[str, object] = record
        for path in self._paths.values():
            rest = _without(rest, path)
        # What has the name of such a column and is another thing is kept under its path.
        return {**{f"$.{name}" if name in found else name: value for name, value in rest.items()}, **found}


def _parts(path: str) -> list[str]:
    return _PART.findall(path.removeprefix("$"))


def _dig(value: object, path: Sequence[str]) -> object:
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _without(record: dict[str, object], path: Sequence[str]) -> dict[str, object]:
    """A copy without what stands at a path of objects, and without those that are empty then."""
    inner = record.get(path[0])
    rest = {name: value for name, value in record.items() if name != path[0]}
    if path[1:] and isinstance(inner, dict):
        left = _without(inner, path[1:])
        return {**rest, path[0]: left} if left else rest
    # A list is kept whole: what follows in it would move up.
    return record if path[1:] else rest
