"""Progress of long work, said where the work is and shown where people look: the terminal, or a run's log.

Work calls `report`; whoever shows it is a listener. How it is drawn belongs to the listener.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report: `done` of `total` (None where nobody can know) `unit`s of `what`, after `seconds`."""

    what: str
    done: int
    total: int | None = None
    unit: str = "rows"
    seconds: float = 0.0
    finished: bool = False

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at the pace so far, or None where that cannot be said."""
        if self.finished or not self.total or not self.done:
            return None
        return max(0.0, self.seconds * (self.total - self.done) / self.done)


Listener = Callable[[Progress], None]
_listeners: list[Listener] = []
_lock = threading.Lock()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the reports of this process to `listener` while the block runs."""
    with _lock:
        _listeners.append(listener)
    try:
        yield
    finally:
        with _lock:
            _listeners.remove(listener)


def report(progress: Progress) -> None:
    """Tell every listener."""
    with _lock:
        told = tuple(_listeners)
    for listener in told:
        listener(progress)


class Meter:
    """Counts one piece of work and reports it, at most every `every` seconds."""

    def __init__(self, what: str, *, total: int | None = None, unit: str = "rows", every: float = 0.5) -> None:
        self._what, self._total, self._unit, self._every = what, total, unit, every
        self._started = self._told = time.monotonic()
        self.done = 0

    def add(self, count: int) -> None:
        """Count `count` more."""
        self.done += count
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self._report(finished=False)

    def finish(self) -> None:
        """Report the end, whatever was reported before."""
        self._report(finished=True)

    def _report(self, *, finished: bool) -> None:
        seconds = time.monotonic() - self._started
        report(Progress(self._what, self.done, self._total, self._unit, seconds, finished))
