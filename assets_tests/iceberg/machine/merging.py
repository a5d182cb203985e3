"""What a write by key must do to a state: which rows come, which leave their files and how, which deleted keys are
remembered.

What the head is by then, and who may not write, belongs in `model.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from assets_tests.iceberg.machine.states import NO_TOMBS, File, Keyed, Mask, Row, Run, State, Tombs, files_of
from assets_tests.iceberg.merge.history_oracle import Change, Version, last_word, told_by, versions
from lakehouse.iceberg import Way

Key = Row | int
Entering = Mapping[Key, tuple[Row, bool]]
"""The row that wins of each key, and whether it deletes."""


@dataclass(frozen=True)
class Merged:
    """Files that come and go, the delete files that come, and what is remembered from now on (the same: as before)."""

    removed: frozenset[File]
    added: frozenset[File]
    masks: frozenset[Mask]
    tombs: Tombs | None

    @property
    def operation(self) -> str:
        if not self.removed and not self.masks:
            return "append"
        return "overwrite" if self.added else "delete"


def merged(run: Run, head: State, *, split: bool) -> Merged | None:
    """As if the write had the head for itself. None: it must be refused."""
    after = entering(run.effect, run.rows, run.keyed, head.rows, head.tombs)
    if after is None:
        return None
    leaving = {file: frozenset(row for row in head.live(file) if row in after.gone) for file in head.files}
    removed, masks, come = set[File](), set[Mask](), files_of(after.come, split=split)
    left: dict[bool, list[Row]] = {False: [], True: []}
    for file, gone in leaving.items():
        staying = [row for row in head.live(file) if row not in gone]
        if gone and staying and run.keyed.way is Way.MERGE_ON_READ:
            before = head.masks[file].rows if file in head.masks else frozenset[Row]()
            masks.add(Mask(file, gone | before))
        elif gone:
            # Small files cost less written anew, those of the same partition together.
            removed.add(file)
            left[file.split] += staying
    copies = [files_of(rows, split=split) for rows in left.values()]
    return Merged(frozenset(removed), come.union(*copies), frozenset(masks), after.tombs)


@dataclass(frozen=True)
class Entered:
    """What rows do to those of a table: all rows like those that are `gone` go."""

    gone: frozenset[Row]
    come: Sequence[Row]
    tombs: Tombs | None

    def to(self, rows: Iterable[Row]) -> list[Row]:
        return sorted([*(row for row in rows if row not in self.gone), *self.come])


def entering(
    effect: str, rows: Sequence[Row], keyed: Keyed, there: Collection[Row], tombs: Tombs | None
) -> Entered | None:
    """By merge, replace_keys or history. None: the table's rows are no history."""
    if effect == "history":
        return versioned(rows, keyed, there, tombs)
    if effect == "replace_keys":
        keys = {keyed.key(row) for row in rows}
        return Entered(frozenset(row for row in there if keyed.key(row) in keys), rows, tombs)
    enter = newest(rows, keyed, there, tombs)
    gone = frozenset(row for row in there if keyed.key(row) in enter)
    return Entered(gone, [row for row, deletes in enter.values() if not deletes], remembered(keyed, tombs, enter))


def versioned(rows: Sequence[Row], keyed: Keyed, there: Collection[Row], tombs: Tombs | None) -> Entered | None:
    """Versions of ids, from day to end; nothing else is remembered of any key."""
    ids = {row[0] for row in rows}
    stored = Counter(row for row in there if row[0] in ids)
    if not keyed.complete and broken(stored):
        return None
    told = (
        {} if keyed.complete else told_by([Version(row[:1], row[1], row[2] if row[2:] else None, ()) for row in stored])
    )
    changes = [Change(row[:1], row[1], None if gone else ()) for row, gone in zip(rows, keyed.gone, strict=True)]
    found = versions(last_word(changes, told))
    wanted = {(*of.key, of.since) if of.until is None else (*of.key, of.since, of.until) for of in found}
    # Which of several like it is a version is not to be told.
    stay = {row for row in wanted if stored[row] == 1}
    forgotten = NO_TOMBS if tombs is not None and tombs.days else tombs
    return Entered(frozenset(stored.keys() - stay), sorted(wanted - stay), forgotten)


def broken(stored: Counter[Row]) -> bool:
    """Whether two versions of an id hold at once."""
    found = sorted(stored.elements())
    return any(one[0] == other[0] and (not one[2:] or one[2] > other[1]) for one, other in pairwise(found))


def newest(rows: Sequence[Row], keyed: Keyed, there: Iterable[Row], tombs: Tombs | None) -> Entering:
    """The row of each key that is neither older than another of them, nor than the table's, nor than its deletion."""
    found = dict[Key, tuple[Row, bool]]()
    for row, gone in zip(rows, keyed.gone, strict=True):
        key = keyed.key(row)
        if key not in found or not keyed.sequence or row[1] >= found[key][0][1]:
            found[key] = row, gone
    if not keyed.sequence:
        return found
    last = dict(tombs.days) if tombs else {}
    for number, day, *_ in there:
        last[number] = max(day, last.get(number, day))
    return {key: (row, gone) for key, (row, gone) in found.items() if row[1] >= last.get(row[0], 0)}


def remembered(keyed: Keyed, tombs: Tombs | None, enter: Entering) -> Tombs | None:
    """The deleted keys, once these rows have entered."""
    if not keyed.sequence:
        return tombs
    before = dict(tombs.days) if tombs else {}
    days = dict(before)
    for (number, day, *_), gone in enter.values():
        if gone:
            days[number] = day
        else:
            days.pop(number, None)
    if days == before:
        return tombs
    return Tombs(days) if days else NO_TOMBS


def joined(here: Tombs | None, then: Tombs | None, theirs: Tombs | None) -> Tombs | None:
    """What main remembers once it has taken windows of a branch that began with `then`."""
    if theirs is here or theirs is then:
        return here
    if here is then or here in {None, NO_TOMBS}:
        return theirs
    assert here is not None
    both = dict(here.days)
    for number, day in theirs.days.items() if theirs else ():
        both[number] = max(day, both.get(number, day))
    return here if both == here.days else Tombs(both)
