"""What to ask for now, of all that is out of date: tables without days first, then the days that wait for them. Pure.

What is out of date is found in `lakehouse/changes/`; how the questions reach Dagster is `changes.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from lakehouse.orchestration.asked import PATIENCE, Answers, Ask, Asked, Target, ask_of
from lakehouse.tables import TableName

Above = Callable[[TableName], frozenset[TableName]]
"""Every table that a table is computed from, near or far."""


@dataclass(frozen=True)
class Questions:
    """The tables without days and the days of tables to ask for now, and what has then been asked."""

    models: frozenset[TableName]
    days: Mapping[TableName, tuple[date, ...]]
    asked: Mapping[Target, Ask]


def questions(  # noqa: PLR0913  (each is something that the answer depends on)
    changes: Mapping[Target, str],
    asked: Asked,
    answers: Answers,
    *,
    above: Above,
    busy: frozenset[TableName],
    now: float,
    most: int,
) -> Questions:
    """What to ask for now, of what is out of date (`changes`: the fingerprint of what each has not followed).

    `busy`: tables that runs make right now; `most`: days in one go, the newest first.

    A table waits for those above it: for tables without days until they are built or have failed, and a table without
    days also for days. So nothing is built twice because its inputs came one after the other, and what is broken holds
    nobody back.
    """
    asks = {target: ask_of(asked.asks.get(target), change, target, now, answers) for target, change in changes.items()}
    due = {target for target, ask in asks.items() if ask.at == now}
    open_models = {name for name, day in asks if day is None and ((name, day) in due or name in busy)}
    open_days = {
        name for (name, day), ask in asks.items() if day is not None and _open((name, day), ask, busy, now, answers)
    }

    def free(target: Target) -> bool:
        name, day = target
        # Tables without days that are due are one run, in which each comes after those above it.
        waits_for = open_models if day else open_days | (open_models & busy)
        return name not in busy and not above(name) & waits_for

    chosen = [target for target in due if free(target)]
    days = sorted(((day, name) for name, day in chosen if day is not None), reverse=True)[:most]
    models = frozenset(name for name, day in chosen if day is None)
    return Questions(
        models,
        {name: tuple(sorted(day for day, of in days if of == name)) for name in {name for _, name in days}},
        _after(asks, asked.asks, due - {(name, None) for name in models} - {(name, day) for day, name in days}),
    )


def _open(target: Target, ask: Ask, busy: frozenset[TableName], now: float, answers: Answers) -> bool:
    """Whether this day is to be built, or is being built, as far as anybody knows."""
    return ask.at == now or target[0] in busy or (now - ask.at < PATIENCE and not answers.settled(target, since=ask.at))


def _after(asks: Mapping[Target, Ask], before: Mapping[Target, Ask], held: set[Target]) -> dict[Target, Ask]:
    """What has been asked: of what is held back, only what had been asked before."""
    found = {target: ask for target, ask in asks.items() if target not in held}
    return {**found, **{target: before[target] for target in held if target in before}}
