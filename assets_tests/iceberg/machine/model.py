"""What each step must do to every ref, in plain Python: the judge of the lake, who knows nothing of it.

How the real step is taken belongs in `steps.py` and with whoever takes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from assets_tests.iceberg.machine.merging import Merged, joined, merged
from assets_tests.iceberg.machine.states import (
    BY_KEY,
    EMPTY,
    SCOPES,
    File,
    Refs,
    Row,
    Run,
    State,
    Where,
    files_of,
    of_day,
)
from lakehouse.errors import BranchMissing, CommitConflict, CommitError, Fenced, PublishConflict
from lakehouse.iceberg import MAIN


class Refused(Exception):
    """The step must raise this error, after what the model has done until then."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind
        super().__init__(kind)


class AuditFailed(Exception):
    """What an audit raises."""


class Model:
    """Every ref (main is EMPTY until the first write), and every state that main has shown."""

    def __init__(self) -> None:
        self.refs: Refs = {MAIN: EMPTY}
        self.tags: Refs = {}
        self.shown: set[State] = set()
        self.audits = 0
        self.split = False
        """How the table is partitioned: by day alone, or in a further way, by which a day is not split yet."""

    @property
    def main(self) -> State:
        return self.refs[MAIN]

    def move(self, ref: str, state: State) -> None:
        self.refs[ref] = state
        if ref == MAIN:
            self.shown.add(state)

    def head(self, ref: str, refs: Refs | None = None) -> State:
        found = (self.refs if refs is None else refs).get(ref)
        if found is None:
            raise Refused(BranchMissing)
        return found

    def run(self, run: Run, before: Refs, expected: Mapping[str, int | None], *, split: bool) -> None:
        """`before`: the refs when the run began, `split`: the partitions; another step may have come between."""
        planned = self._check(run, before, expected)
        if planned is None:
            return
        if run.effect in BY_KEY:
            self._merge(run, expected, split=split)
            return
        touched, removed = _plan(run, planned)
        staying = [
            row for file in removed for row in planned.live(file) if run.effect == "replace" or not run.where.means(row)
        ]
        added = files_of([*run.rows, *staying], split=split)
        if not added and not removed and run.moves is None:
            return
        head = self._check(run, self.refs, expected)
        if head is None:
            return
        if run.effect != "append" and not _same_rows_found(run, touched, planned, head):
            raise Refused(CommitConflict)
        operation = {"append": "append", "replace": "replace"}.get(run.effect, "overwrite")
        if run.effect == "delete" and removed and not added:
            operation = "delete"
        self._write(run, head, operation, removed, added)

    def _merge(self, run: Run, expected: Mapping[str, int | None], *, split: bool) -> None:
        """As if no other had come between: of merges one comes after the other, and an append is looked into."""
        head = self._check(run, self.refs, expected)
        if head is None:
            return
        made = merged(run, head, split=split)
        if made is None:
            raise Refused(CommitError)
        if not made.added and not made.removed and not made.masks and made.tombs is head.tombs and run.moves is None:
            return
        self._write(run, head, made.operation, made.removed, made.added, made)

    def _write(  # noqa: PLR0913, PLR0917  (what a snapshot is made of)
        self,
        run: Run,
        head: State,
        operation: str,
        removed: frozenset[File],
        added: frozenset[File],
        made: Merged | None = None,
    ) -> None:
        state = State(
            None if head is EMPTY else head,
            operation,
            (head.files - removed) | added,
            head.progress if run.moves is None else {**head.progress, SCOPES[run.writer]: run.moves},
            run.key,
            merge=made is not None,
            sheets=head.sheets_after(removed, made.masks if made else ()),
            tombs=made.tombs if made else head.tombs,
        )
        self.move(run.branch, state)

    def _check(self, run: Run, refs: Refs, expected: Mapping[str, int | None]) -> State | None:
        head = self.head(run.branch, refs)
        if head.has(run.key):
            return None
        if any(head.progress.get(scope) != at for scope, at in expected.items()):
            raise Refused(Fenced)
        return head

    def create(self, branch: str) -> None:
        if self.main is EMPTY:
            self.move(MAIN, State(None, "append", frozenset()))
        self.refs.setdefault(branch, self.main)

    def staged(self, branch: str, main: State | None = None) -> tuple[State, tuple[State, ...], bool]:
        """Where a branch forked, its own states (newest first), and whether main was taken back below the fork."""
        history, on_main = self.head(branch).history, (main or self.main).history
        known = {*on_main, *self.shown}
        number = next(number for number, past in enumerate(history) if past in known)
        return history[number], history[:number], history[number] not in on_main

    def on_main(self, branch: str) -> bool:
        _, ahead, taken_back = self.staged(branch)
        return not ahead and not taken_back

    def rebased(self, branch: str, main: State) -> State:
        """The branch on top of main, as it is once `rebase` has moved it."""
        fork, ahead, taken_back = self.staged(branch, main)
        if fork is main or not (ahead or taken_back):
            return self.head(branch)
        if not ahead or any(past.operation != "append" or past.merge for past in ahead):
            raise Refused(PublishConflict)
        if any(past.of_windows for past in _behind(fork, main)):
            raise Refused(PublishConflict)
        head = main
        for past in reversed(ahead):
            head = self._again(head, past, _added(past))
        return head

    def publish(self, branch: str, before: Refs, audit: str) -> None:
        """`before`: the refs when it was asked for; if it began by a rebase, it began by one on main as it was."""
        audited, main = before[branch], before[MAIN]
        if self.staged(branch, main)[0] is main:
            main = self.main
        for left in reversed(range(4)):
            fork, ahead, taken_back = self.staged(branch, main)
            head = self.head(branch)
            if not ahead and not taken_back:
                del self.refs[branch]
                return
            if head is not audited:
                raise Refused(PublishConflict)
            if fork is main:
                self.move(MAIN, head)
                del self.refs[branch]
                return
            spared = not taken_back and all(past.operation == "replace" for past in _behind(fork, main))
            if not left or (audit == "none" and not spared):
                raise Refused(PublishConflict)
            audited = self.refs[branch] = self.rebased(branch, main)
            main = self.main
            if audit != "none" and not spared:
                self.audits += 1
                if audit == "fails":
                    raise Refused(AuditFailed)

    def publish_windows(self, branch: str, days: Collection[int]) -> None:
        fork, ahead, taken_back = self.staged(branch)
        if self.on_main(branch):
            del self.refs[branch]
            return
        head, took, brought = self.head(branch), set[File](), set[File]()
        if taken_back or (head.sheets | self.main.sheets) - fork.sheets:
            # Which rows of a file came is not told by the file alone, where delete files came too.
            raise Refused(PublishConflict)
        for day in days:
            here, then, wanted = (of_day(state, day) for state in (self.main, fork, head))
            if here != wanted:
                if here != then:
                    raise Refused(PublishConflict)
                took |= then - wanted
                brought |= wanted - then
        main, tombs = self.main, joined(self.main.tombs, fork.tombs, head.tombs)
        if took or brought or tombs is not main.tombs:
            operation, files = "overwrite" if took else "append", (main.files - took) | brought
            sheets = main.sheets_after(took)
            self.move(MAIN, State(main, operation, files, main.progress, of_windows=True, sheets=sheets, tombs=tombs))
        if (head.files - fork.files) - self.main.files or (fork.files - head.files) & self.main.files:
            return
        for past in reversed(ahead):
            if past.key or past.moved:
                self.move(MAIN, self._again(self.main, past, frozenset()))
        del self.refs[branch]

    def _again(self, head: State, past: State, files: frozenset[File]) -> State:
        if head.has(past.key):
            return head
        before = past.parent.progress if past.parent else {}
        if any(head.progress.get(scope) != before.get(scope) for scope in past.moved):
            raise Refused(PublishConflict)
        progress, sheets = {**head.progress, **past.moved}, head.sheets_after(())
        return State(head, "append", head.files | files, progress, past.key, sheets=sheets, tombs=head.tombs)

    def restore(self, planned: State, target: State) -> None:
        if self.main is target:
            return
        if self.main is not planned:
            raise Refused(CommitConflict)
        self.move(MAIN, target)

    def foreign(self, effect: str, ref: str, rows: list[Row], where: Where) -> frozenset[File]:
        """The files that another program's write must lead to."""
        head = self.head(ref)
        removed: set[File] = set()
        added = set(files_of(rows, split=self.split)) if effect != "delete" else set()
        for file in head.files if effect != "append" else ():
            staying = [row for row in head.live(file) if not where.means(row)]
            if len(staying) < len(head.live(file)):
                removed.add(file)
                added |= files_of(staying, split=self.split)
        return (head.files - removed) | added


def _behind(fork: State, main: State) -> list[State]:
    return [past for past in main.history if past not in fork.history]


def _plan(run: Run, head: State) -> tuple[frozenset[File], frozenset[File]]:
    """The files that may hold rows of the run, as their bounds tell; those that do."""
    if run.effect == "append":
        return frozenset(), frozenset()
    if run.effect == "replace":
        files = of_day(head, run.where.low)
        return files, files
    may = frozenset(file for file in head.files if run.where.means(max(file.rows)))
    # Of a file in which each row is meant none is read, not even which are hidden.
    return may, frozenset(
        file
        for file in may
        if all(run.where.means(row) for row in file.rows) or any(run.where.means(row) for row in head.live(file))
    )


def _same_rows_found(run: Run, touched: frozenset[File], planned: State, head: State) -> bool:
    if any(planned.masks.get(file) is not head.masks.get(file) for file in touched):
        return False
    return touched <= head.files if run.effect == "replace" else _plan(run, head)[0] == touched


def _added(state: State) -> frozenset[File]:
    return state.files - (state.parent.files if state.parent else frozenset())
