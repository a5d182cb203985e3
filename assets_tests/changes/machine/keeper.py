"""What upkeep and a restorer do: compaction, expiry, and main going back. The first two must make nothing stale."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import rule

from assets_tests.changes.machine.drawn import PICK, TABLE
from assets_tests.changes.machine.world import World
from lakehouse.errors import CommitError
from lakehouse.iceberg import held_for_consumers
from lakehouse.storage.open import open_store
from lakehouse.tables import TableName

LATER = timedelta(days=30)


class Keeper(World):
    @rule(name=TABLE, rounds=st.integers(0, 2), expiry=st.booleans(), held=st.booleans())
    def keep_up(self, name: TableName, rounds: int, *, expiry: bool, held: bool) -> None:
        """So many compactions, and an expiry a month later: as upkeep does it, or without asking who reads."""
        for _ in range(rounds):
            self.compact(name)
        if expiry:
            self.expire(name, held=held)

    keep_up_too = keep_up

    def compact(self, name: TableName) -> None:
        by_partition: dict[str, list[str]] = {}
        for file in self.tables[name].live_files():
            by_partition.setdefault(file.partition, []).append(file.path)
        groups: list[Sequence[str]] = [paths for _, paths in sorted(by_partition.items())]
        self.tables[name].compact(groups, connection=self.duck.cursor())
        self.seen(name)
        World.done["compact"] += 1

    def expire(self, name: TableName, *, held: bool) -> None:
        now = datetime.now(UTC) + LATER
        kept = held_for_consumers(self.lake, name, now=now, at_most=LATER * 2) if held else {}
        store = open_store(self.settings, self.settings.warehouse, None)
        before = {snapshot.id for snapshot in self.tables[name].snapshots()}
        self.tables[name].expire_snapshots(store, now=now, held=tuple(kept.values()))
        if before - {snapshot.id for snapshot in self.tables[name].snapshots()}:
            self.model.expired(name, held=held)
        self.seen(name)
        World.done["expire"] += 1

    @rule(name=TABLE, pick=PICK)
    def restore(self, name: TableName, pick: int) -> None:
        """Back to a state that main has shown, and how far a model had come with it."""
        past = [snapshot.id for snapshot in self.tables[name].snapshots() if snapshot.id in self.model.states][:4]
        if len(past) < 2:
            return
        target = past[1 + pick % (len(past) - 1)]
        try:
            self.tables[name].restore(self.tables[name].plan_restore(to=target))
        except CommitError:
            # How far it had come then has expired.
            return
        self.model.moved_back(name, self.model.states[target])
        self.seen(name)
        World.done[f"restore {name.layer.value}"] += 1
