"""How rows enter a table, in two versions of its contract: strategy, and what `merge` and `history` say.

Most of it is the writer's business. What breaks is that rows may mean, or hold, what they could not before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from lakehouse.contracts.diff_columns import renames
from lakehouse.contracts.difference import Difference, Move
from lakehouse.contracts.words import span_in_words
from lakehouse.tables import HistoryPolicy, MergePolicy, Strategy, Table

_ALL_THE_SAME = "the table holds what its contract says all the same"
_BREAKS_FROM = {
    Strategy.APPEND: "rows that were read may change",
    Strategy.SCD2: "versions of a key may overlap",
}


def compare_policies(old: Table, new: Table) -> Iterator[Difference]:
    """The strategy, or else the policy of the one that both have. Columns of a new name are the same ones."""
    now = renames(old, new)
    if old.strategy is not new.strategy:
        reason = _BREAKS_FROM.get(old.strategy, _ALL_THE_SAME)
        change = f"{old.strategy} -> {new.strategy}"
        yield Difference("strategy", Move.CHANGED, change, old.strategy in _BREAKS_FROM, reason)
    elif old.merge and new.merge:
        before = replace(old.merge, key=_named(old.merge.key, now), sequence=_one(old.merge.sequence, now))
        # The key of a merge is the primary key, which is compared by itself, and so is one that follows from it.
        plain = (old.merge.key, new.merge.key) == (old.primary_key, new.primary_key)
        if old.strategy is Strategy.DELETE_INSERT and not plain and set(before.key) != set(new.merge.key):
            change = f"{', '.join(before.key)} -> {', '.join(new.merge.key)}"
            yield Difference("merge key", Move.CHANGED, change, False, "it tells which rows are replaced together")
        yield from _merges(before, new.merge)
    elif old.history and new.history:
        history = _renamed(old.history, now)
        yield from _histories(history, new.history)
        shared = {now.get(column.name, column.name) for column in old.columns} & {c.name for c in new.columns}
        yield from _columns(history, new.history, shared)


def _merges(old: MergePolicy, new: MergePolicy) -> Iterator[Difference]:
    if old.sequence != new.sequence:
        reason = "an older row may replace a newer one" if old.sequence else "no older row replaces a newer one"
        yield _moved("merge sequence", old.sequence, new.sequence, breaking=old.sequence is not None, reason=reason)
    yield from _markers("merge deleted", old.deleted, new.deleted)
    if old.sequence and new.sequence and old.deleted and new.deleted:
        yield from _horizons(
            "merge lateDays", old.late, new.late, "a late row may bring a deleted key back", matters=True
        )


def _histories(old: HistoryPolicy, new: HistoryPolicy) -> Iterator[Difference]:
    if old.key != new.key:
        same = set(old.key) == set(new.key)
        reason = "surrogates are computed from it" if same else "what a version is of has changed"
        breaking = not same or bool(old.surrogate and new.surrogate)
        change = f"{', '.join(old.key)} -> {', '.join(new.key)}"
        yield Difference("history key", Move.CHANGED, change, breaking, reason if breaking else _ALL_THE_SAME)
    yield from _markers("history deleted", old.deleted, new.deleted)
    if old.complete is not new.complete:
        change = f"{str(old.complete).lower()} -> {str(new.complete).lower()}"
        yield Difference("history complete", Move.CHANGED, change, False, "it tells what the model yields")
    known = old.complete and new.complete
    harm = "the model yields late changes too" if known else "a late change may hold too long"
    yield from _horizons("history lateDays", old.late, new.late, harm, matters=not known)


def _columns(old: HistoryPolicy, new: HistoryPolicy, shared: Collection[str]) -> Iterator[Difference]:
    """What columns are for. `shared`: those of both versions; that others come and go is told of the columns."""
    roles = {
        "history validFrom": (old.valid_from, new.valid_from),
        "history validTo": (old.valid_to, new.valid_to),
        "history current": (old.current, new.current),
        "history surrogate": (old.surrogate, new.surrogate),
    }
    for subject, (one, other) in roles.items():
        if one != other:
            breaking = one in shared or other in shared
            reason = (
                "a column holds something else than before" if breaking else "no column of before holds another value"
            )
            yield _moved(subject, one, other, breaking=breaking, reason=reason)
    attributes = {*shared} - _computed(old) - _computed(new)
    before, after = ({*(policy.tracked or attributes)} & attributes for policy in (old, new))
    gone, come = ", ".join(sorted(before - after)), ", ".join(sorted(after - before))
    if gone:
        change = f"with {come}, without {gone}" if come else f"without {gone}"
        move = Move.CHANGED if come else Move.REMOVED
        yield Difference("history tracked", move, change, True, "what they were before is not kept any more")
    elif come:
        yield Difference("history tracked", Move.ADDED, f"with {come}", False, "more changes begin a version")


def _computed(policy: HistoryPolicy) -> set[str | None]:
    return {*policy.key, policy.valid_from, policy.valid_to, policy.current, policy.surrogate}


def _markers(subject: str, old: str | None, new: str | None) -> Iterator[Difference]:
    if old != new:
        reason = "the table does not have the column"
        if not old or not new:
            reason = "keys that are deleted stay" if old else "keys that are deleted go"
        yield _moved(subject, old, new, breaking=not new, reason=reason)


def _horizons(subject: str, old: timedelta, new: timedelta, reason: str, *, matters: bool) -> Iterator[Difference]:
    """For how long what comes late is known as such; when that does not matter, `reason` says why."""
    if old != new:
        shorter = new < old
        if matters:
            reason += ", and sooner than before" if shorter else ", but later than before"
        change = f"{span_in_words(old)} -> {span_in_words(new)}"
        yield Difference(subject, Move.NARROWED if shorter else Move.WIDENED, change, shorter and matters, reason)


def _moved(subject: str, old: str | None, new: str | None, *, breaking: bool, reason: str) -> Difference:
    move = Move.CHANGED if old and new else Move.REMOVED if old else Move.ADDED
    return Difference(subject, move, f"{old or 'none'} -> {new or 'none'}", breaking, reason)


def _renamed(policy: HistoryPolicy, now: Mapping[str, str]) -> HistoryPolicy:
    return replace(
        policy,
        key=_named(policy.key, now),
        tracked=_named(policy.tracked, now),
        valid_from=now.get(policy.valid_from, policy.valid_from),
        valid_to=now.get(policy.valid_to, policy.valid_to),
        current=_one(policy.current, now),
        surrogate=_one(policy.surrogate, now),
    )


def _named(names: Collection[str], now: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(now.get(name, name) for name in names)


def _one(name: str | None, now: Mapping[str, str]) -> str | None:
    return None if name is None else now.get(name, name)
