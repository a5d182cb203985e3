"""What differs between two versions of a contract, and whether that breaks those who read the table.

Only the value; what is compared stands in `diff.py`, `diff_columns.py` and `diff_rules.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Move(StrEnum):
    """Which way a statement of the contract went, as seen by the values and rows that it allows."""

    ADDED = "added"
    REMOVED = "removed"
    RENAMED = "renamed"
    WIDENED = "widened"
    NARROWED = "narrowed"
    CHANGED = "changed"
    """Neither allows all that the other allows, or nothing can be told."""


@dataclass(frozen=True)
class Difference:
    """One difference. `subject` is what differs ("column price"), `change` how, `reason` why it breaks or does not."""

    subject: str
    move: Move
    change: str
    breaking: bool
    reason: str
