"""PostgreSQL's snapshots and transaction ids, in the form in which positions keep them.

A row carries the low 32 bits of the transaction that wrote it (`xmin`). Widened by the reading snapshot, that number is
never too small: for a row that is not frozen it is the transaction, for a frozen one it may be some multiple of 2^32
too large. So whoever asks for what is new gets all of it, and perhaps rows that are old; those have the same low bits.
"""

from __future__ import annotations

from dataclasses import dataclass

_WRAP = 2**32


@dataclass(frozen=True)
class Snapshot:
    """What `pg_current_snapshot()` says: `xmax` is above all transactions in it, `running` are those in flight."""

    text: str
    xmin: int
    xmax: int
    running: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read `xmin:xmax:running,...`. Raises ValueError."""
        xmin, xmax, running = text.split(":")
        return cls(text, int(xmin), int(xmax), frozenset(map(int, filter(None, running.split(",")))))

    def floor_since(self, earlier: Snapshot) -> int:
        """A transaction such that all that came since an earlier snapshot was written by it or a later one.

        What was not visible then belongs to a transaction that was running and has ended, or began later. A
        subtransaction has a higher number than its transaction, though it stands in no snapshot: so nothing is said
        here of single numbers (`pg_visible_in_snapshot` would be wrong about them).
        """
        return min([*(earlier.running - self.running), earlier.xmax])

    @property
    def wrapped(self) -> bool:
        """Whether numbers of transactions have come round once: only then can a widened one be too large."""
        return self.xmax >= _WRAP

    @property
    def widened(self) -> str:
        """SQL of a row's `xmin` in 64 bits."""
        return f"({self.xmax} - (({self.xmax} - xmin::text::bigint) & {_WRAP - 1}))"
