"""What upkeep says while it works: lines with figures, and how long it will take. How they are shown is not here."""

from __future__ import annotations

import time
from collections.abc import Callable

from lakehouse.iceberg import CompactionStep, Phase

Say = Callable[[str], None]

_EVERY_S = 5.0
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000
_MINUTE = 60
_HOUR = 3600


class CompactionPace:
    """Says after groups of files how much of a compaction is proved, at most every few seconds, and at the end."""

    def __init__(self, say: Say, total_bytes: int, *, every_s: float = _EVERY_S) -> None:
        self._say, self._total, self._every = say, total_bytes, every_s
        self._started = self._told = time.monotonic()
        self._done = self._groups = 0

    def __call__(self, step: CompactionStep) -> None:
        """Hear of a step."""
        if step.phase is not Phase.PROVED:
            return
        self._done += step.bytes
        self._groups += 1
        now = time.monotonic()
        last = self._groups == step.groups
        if last or now - self._told >= self._every:
            self._told = now
            pace = (now - self._started) / self._done
            left = "" if last else f", about {span(pace * (self._total - self._done))} left"
            self._say(
                f"{step.table}: {self._groups:,} of {counted(step.groups, 'group')} rewritten and proved, "
                f"{size(self._done)} of {size(self._total)}{left}"
            )


class NowAndThen:
    """Passes a line on, unless one was passed on in the last few seconds."""

    def __init__(self, say: Say, *, every_s: float = _EVERY_S) -> None:
        self._say, self._every, self._told = say, every_s, time.monotonic()

    def __call__(self, line: str) -> None:
        """Hear of progress."""
        now = time.monotonic()
        if now - self._told >= self._every:
            self._told = now
            self._say(line)


def size(count: float) -> str:
    """Bytes for people: 1.5 MB."""
    unit = 0
    while count >= _STEP and unit < len(_UNITS) - 1:
        count, unit = count / _STEP, unit + 1
    return f"{count:,.0f} {_UNITS[unit]}" if unit == 0 else f"{count:,.1f} {_UNITS[unit]}"


def counted(count: int, thing: str) -> str:
    """So many things: 1 file, 2,000 files."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def span(seconds: float) -> str:
    """Seconds for people: 40 s, 3 min, 2.5 h."""
    if seconds < _MINUTE:
        return f"{seconds:,.0f} s"
    return f"{seconds / _MINUTE:,.0f} min" if seconds < _HOUR else f"{seconds / _HOUR:,.1f} h"
