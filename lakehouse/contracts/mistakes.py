"""Mistakes in contracts as data: file, line, the way down in the YAML, and what was expected there.

How they look on a screen does not belong here (`cli/`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lakehouse.contracts.read import read_all
from lakehouse.errors import ContractError

_STEP = r'(?:\[\d+\]|\["(?:[^"\\]|\\.)*"\]|\.[\w-]+)'
_WHERE = re.compile(
    rf"(?P<file>.+?):(?P<line>\d+): (?:(?P<path>(?:[\w-]+|{_STEP}){_STEP}*): )?(?P<problem>.+)", re.DOTALL
)


@dataclass(frozen=True)
class Mistake:
    """One thing in a contract that cannot be used. `line` counts from 1; `path` is empty for a file as a whole."""

    file: Path
    line: int
    path: str
    problem: str
    expected: str | None
    found: str | None
    remedy: str

    @classmethod
    def of(cls, error: ContractError) -> Mistake:
        """The parts of an error that names its place, as `Place.error` writes it."""
        where = _WHERE.fullmatch(error.what)
        if where is None:
            message = f"an error of a contract without file and line: {error.what}"
            raise ValueError(message)
        place = Path(where["file"]), int(where["line"]), where["path"] or ""
        return cls(*place, where["problem"], error.expected, error.found, error.remedy)


def find_mistakes(folders: Sequence[Path]) -> tuple[Mistake, ...]:
    """All mistakes of the contracts below the folders, by file and line.

    Of each file that is the first one that keeps it from being read on, and each one in its rules.
    """
    _, errors = read_all(folders)
    return tuple(sorted(map(Mistake.of, errors), key=lambda mistake: (mistake.file, mistake.line)))
