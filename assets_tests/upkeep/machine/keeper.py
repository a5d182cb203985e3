"""What upkeep does: compaction, expiry, orphan removal; each also killed, or with others acting in the middle."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import PICK
from assets_tests.upkeep.machine.befalls import Came, Mortal, until_death
from assets_tests.upkeep.machine.drawn import KILL, OTHER
from assets_tests.upkeep.machine.retention import AUDITS, kept
from assets_tests.upkeep.machine.storage import Seen
from assets_tests.upkeep.machine.world import MAX_AGE, World
from lakehouse.storage.open import open_store
from lakehouse.upkeep.orphans import sweep_orphans
from lakehouse.upkeep.packing import plan_compaction
from lakehouse.upkeep.policy import Policy

SAFE_AGE = timedelta(hours=72)
TINY = Policy(target_bytes=2500, min_files=2)
DELETIONS = st.none() | st.integers(0, 5)
"""After how many deleted files the process dies; None: it lives."""


class Keeper(World):
    def __init__(self) -> None:
        super().__init__()
        self.store = open_store(self.settings, self.settings.warehouse, self.s3)
        self.owed: frozenset[str] = frozenset()
        self.sighted: dict[str, tuple[datetime, int]] = {}
        self.reachable: frozenset[str] = frozenset()

    @precondition(lambda self: self.model.line)
    @rule(planned=st.booleans(), size=st.integers(1, 4), kill=KILL, other=OTHER)
    def compact(self, size: int, kill: tuple[int, bool] | None, other: dict[str, Any] | None, *, planned: bool) -> None:
        """Groups by the planner, with a target that two files fill, or any groups of one partition's files."""
        files = self.keeper.live_files()
        groups: list[Sequence[str]] = [group.files for group in plan_compaction(files, TINY)]
        if not planned:
            by_partition: dict[str, list[str]] = {}
            for file in files:
                by_partition.setdefault(file.partition, []).append(file.path)
            groups = [
                paths[start : start + size] for paths in by_partition.values() for start in range(0, len(paths), size)
            ]
        head = self.stock().metadata.current_snapshot_id
        came = self.befallen(lambda: self.keeper.compact(groups, connection=self.duck.cursor()), kill, other)
        assert came.well or came.killed, came.error
        if head != self.stock().metadata.current_snapshot_id:
            self.moved(self.model.main, "rewrite")
        if came.well and other is None:
            done = came.answer
            assert (done.overtaken, done.refused) == (0, ())
            assert not {path for group in groups for path in group} & {file.path for file in self.keeper.live_files()}
        overtaken = came.well and bool(came.answer.overtaken)
        World.done[f"compact {'killed' if came.killed else 'overtaken' if overtaken else 'done'}"] += 1

    compact_too = compact

    @precondition(lambda self: self.model.line)
    @rule(pick=PICK, far=st.booleans(), kill=KILL, deletions=DELETIONS, other=OTHER)
    def expire(
        self,
        pick: int,
        kill: tuple[int, bool] | None,
        deletions: int | None,
        other: dict[str, Any] | None,
        *,
        far: bool,
    ) -> None:
        """Everything that may go, or what is older than some snapshot; killed at a swap or in the deletion."""
        now = self.some_time(pick, far=far)
        before, listed = self.reached.of_snapshots(self.stock()) | self.owed, self.files.listed().keys()
        wanted = [kept(self.stock().metadata, self.model.held, now)]

        def act() -> object:
            store = Mortal(self.store, None if kill else deletions)
            return self.keeper.expire_snapshots(store, now=now, held=self.model.held, audits_kept_for=AUDITS)

        def meanwhile(drawn: dict[str, Any]) -> None:
            nonlocal before, listed
            there = self.files.listed().keys()
            self.someone_acts(drawn)
            left = self.files.listed().keys()
            before |= self.reached.of_snapshots(self.stock())
            # A sweep of meanwhile is judged by itself.
            listed = (listed | left) - (there - left)
            wanted[:] = [kept(self.stock().metadata, self.model.held, now)]

        if kill is not None:
            came = self.befallen(act, kill)
        elif other is not None:
            came = until_death(lambda: self.with_another(meanwhile, other, act))
        else:
            came = until_death(act)
        assert came.well or came.killed, came.error
        self.expired(came, wanted[0], alone=other is None)
        # A catalog that cannot be asked to watch for new refs: one that was lost is back, by a snapshot of no rows.
        self.moved(self.model.main, "write")
        # What a stopped one owes may be deleted by this one before somebody else's comes in between.
        gone = (before | self.owed) - self.reached.of_snapshots(self.stock())
        there = self.files.listed().keys()
        # What no snapshot had before is for the sweep, and for nobody else.
        assert listed - there <= gone
        assert not came.well or not gone & there
        self.owed = gone & there
        World.done["expire killed" if came.killed else "expire"] += 1

    expire_too = expire

    def with_another(self, meanwhile: Any, other: dict[str, Any], act: Any) -> object:  # noqa: ANN401  (callables)
        raise NotImplementedError

    def some_time(self, pick: int, *, far: bool) -> datetime:
        if far:
            return datetime.now(UTC) + timedelta(days=30)
        times = sorted(snapshot.timestamp_ms for snapshot in self.stock().metadata.snapshots)
        at = datetime.fromtimestamp(times[pick % len(times)] / 1000, UTC)
        return at + MAX_AGE + timedelta(milliseconds=1)

    def expired(self, came: Came, wanted: tuple[frozenset[int], frozenset[str]], *, alone: bool) -> None:
        """The metadata is as it was, or has all that it must have and nothing else."""
        metadata = self.stock().metadata
        there = {snapshot.snapshot_id for snapshot in metadata.snapshots}
        assert wanted[0] <= there
        assert wanted[1] <= metadata.refs.keys()
        if came.well and alone:
            assert there == wanted[0]
            assert metadata.refs.keys() == wanted[1]
        # Whoever acted meanwhile may have come when it was planned already.
        for name in {*self.model.branches, *self.model.tags} - metadata.refs.keys():
            self.model.branches.pop(name, None)
            self.model.tags.pop(name, None)
            World.done["ref outlived"] += 1

    @precondition(lambda self: self.model.line)
    @rule(hours=st.sampled_from([1, 30, 80, 80]), deletions=DELETIONS, dry_run=st.booleans())
    def sweep(self, hours: int, deletions: int | None, *, dry_run: bool = False) -> None:
        self.files.settle(self.now)
        self.ahead += timedelta(hours=hours)
        came = until_death(lambda: self.swept(Mortal(self.store, deletions), dry_run=dry_run))
        assert came.well or came.killed, came.error
        World.done["sweep killed" if came.killed else "sweep"] += 1

    def swept(self, store: Mortal, *, dry_run: bool) -> object:
        """Only what was nobody's at two looks a safe age apart goes."""
        now, before, named = self.now, self.files.listed(), self.reached.of_table(self.stock())
        until = (now - SAFE_AGE).timestamp() * 10**9
        old = {path for path, at in before.items() if path not in named and at <= until}
        due = {path for path in old if self.seen_long_ago(path, before, now)} - ({*old} if dry_run else set())
        try:
            return sweep_orphans(
                self.lake,
                self.name,
                store,
                safe_age=SAFE_AGE,
                now=now,
                run_id=f"r{next(self.numbers)}",
                dry_run=dry_run,
            )
        finally:
            after = self.files.listed()
            gone = before.keys() - after.keys()
            assert gone <= due
            assert store.died or gone == due
            World.done["orphans removed"] += len(gone)
            if not dry_run and not store.died:
                for path in old:
                    if path not in self.sighted or self.sighted[path][1] != before[path]:
                        self.sighted[path] = (now, before[path])
            self.owed -= gone

    def seen_long_ago(self, path: str, listed: Seen, now: datetime) -> bool:
        seen_at, version = self.sighted.get(path, (now, 0))
        return seen_at <= now - SAFE_AGE and version == listed[path]

    def rest(self) -> None:
        """I-h: once nobody holds anything, storage has what the newest metadata names, and not a file more."""
        if not self.model.line:
            return
        self.model.held.clear()
        self.expire(0, None, None, None, far=True)
        for _ in range(2):
            self.sweep(80, None)
        self.look()
        assert self.files.listed().keys() == self.reached.of_table(self.stock())
        World.done["came to rest"] += 1
