"""A slowly changing dimension by brute force: what holds at every moment is asked one by one.

Moments are the numbers 0 to LAST. Nothing here is how DuckDB does it: no runs, no windows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

LAST = 9


class Change(NamedTuple):
    """A key (of any number of columns) at a moment: what it is like from then on, None for deleted."""

    key: tuple[Any, ...]
    at: int
    values: tuple[Any, ...] | None


class Version(NamedTuple):
    key: tuple[Any, ...]
    since: int
    until: int | None
    values: tuple[Any, ...]


Known: TypeAlias = dict[tuple[Any, ...], dict[int, tuple[Any, ...] | None]]
"""What is known of each key, by moment."""


def last_word(changes: Iterable[Change], before: Known | None = None) -> Known:
    """At each moment what arrived last, over what was known before."""
    known: Known = {key: dict(moments) for key, moments in (before or {}).items()}
    for change in changes:
        known.setdefault(change.key, {})[change.at] = change.values
    return known


def at(moments: Mapping[int, tuple[Any, ...] | None], moment: int) -> tuple[Any, ...] | None:
    """What a key is like at a moment: what was said last, at that moment or before."""
    earlier = [known for known in moments if known <= moment]
    return moments[max(earlier)] if earlier else None


def versions(known: Known) -> set[Version]:
    """Moment by moment: a version begins where the key is not what it was one moment ago."""
    found = set()
    for key, moments in known.items():
        states = [at(moments, moment) for moment in range(LAST + 1)]
        for since, values in enumerate(states):
            if values is None or (since > 0 and states[since - 1] == values):
                continue
            until = next((later for later in range(since, LAST + 1) if states[later] != values), None)
            found.add(Version(key, since, until, values))
    return found


def told_by(stored: Collection[Version]) -> Known:
    """What a table of versions tells: not when a key was seen again as it was."""
    known: Known = {}
    begun = {(version.key, version.since) for version in stored}
    for version in stored:
        moments = known.setdefault(version.key, {})
        moments[version.since] = version.values
        if version.until is not None and (version.key, version.until) not in begun:
            moments[version.until] = None
    return known


def names(found: Collection[Version]) -> list[tuple[int, int | None, str]]:
    """Versions in order, by name."""
    found = sorted(found, key=lambda version: (version.since, version.until or LAST + 1, str(version.values[0])))
    return [(version.since, version.until, version.values[0]) for version in found]
