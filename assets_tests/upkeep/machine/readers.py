"""Who relies on old snapshots: long readers under a lease or a tag, those who name snapshots, and a consumer."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from assets_tests.iceberg.machine.drawn import PICK
from assets_tests.iceberg.machine.follower import KEY, changes_are
from assets_tests.upkeep.machine.states import Rows
from assets_tests.upkeep.machine.world import World
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import MAIN

LONG = timedelta(days=3650)


@dataclass
class Reading:
    """What somebody has begun to read, and the promise that it stays."""

    tag: str
    snapshot_id: int
    rows: Rows
    held: ExitStack


class Readers(World):
    def __init__(self) -> None:
        super().__init__()
        self.readings: list[Reading] = []

    def leave(self) -> None:
        with suppress(LakehouseError):
            for reading in self.readings:
                reading.held.close()

    @precondition(lambda self: self.model.line and len(self.readings) < 3)
    @rule(pick=PICK, lease=st.booleans())
    def begin_to_read(self, pick: int, *, lease: bool) -> None:
        """Of main, or of a branch that may be gone before the end."""
        refs = sorted(self.model.refs())
        held, ref = ExitStack(), refs[pick % len(refs)]
        if lease:
            tag = held.enter_context(self.reader.lease(ref, max_age=LONG)).tag
        else:
            tag = f"reading/{next(self.numbers)}"
            self.reader.tag(tag, ref)
            held.callback(self.reader.untag, tag)
        number = self.reader.tags()[tag]
        self.model.tags[tag] = number
        self.readings.append(Reading(tag, number, self.read(number, self.stock()), held))
        World.done["begin to read"] += 1

    @precondition(lambda self: self.readings)
    @rule(pick=PICK)
    def read_on(self, pick: int) -> None:
        reading = self.readings[pick % len(self.readings)]
        assert self.read(reading.snapshot_id, self.stock()) == reading.rows
        World.done["read on"] += 1

    @precondition(lambda self: self.readings)
    @rule(pick=PICK)
    def stop_reading(self, pick: int) -> None:
        reading = self.readings.pop(pick % len(self.readings))
        assert self.read(reading.snapshot_id, self.stock()) == reading.rows
        reading.held.close()
        del self.model.tags[reading.tag]
        World.done["stop reading"] += 1

    @precondition(lambda self: self.model.line)
    @rule(pick=PICK, forever=st.booleans())
    def tag(self, pick: int, *, forever: bool) -> None:
        """A snapshot of main's past, which may be about to expire."""
        past = [one.id for one in self.reader.snapshots()]
        name, number = f"keep/{next(self.numbers)}", past[-1 - pick % min(len(past), 3)]
        self.reader.tag(name, number, max_age=None if forever else timedelta(hours=1))
        self.model.tags[name] = number
        World.done["tag"] += 1

    @precondition(lambda self: any(name.startswith("keep/") for name in self.model.tags))
    @rule(pick=PICK)
    def untag(self, pick: int) -> None:
        names = sorted(name for name in self.model.tags if name.startswith("keep/"))
        name = names[pick % len(names)]
        self.reader.untag(name)
        del self.model.tags[name]
        World.done["untag"] += 1

    @precondition(lambda self: self.model.line)
    @rule(pick=PICK, key=KEY)
    def changes(self, pick: int, key: tuple[str, ...]) -> None:
        """Since a snapshot that is left of main's past, however its rows were packed on the way."""
        past = [one.id for one in self.reader.snapshots()]
        since = past[pick % len(past)]
        rows = self.model.rows[since], self.model.main.rows
        World.done[changes_are(self.reader, since, MAIN, key, *rows)] += 1

    @precondition(lambda self: self.model.line)
    @rule()
    def consume(self) -> None:
        """A table of this project has read main as it is now, and needs what comes after."""
        head = self.stock().metadata.refs[MAIN].snapshot_id
        self.model.held = {head}
        World.done["consume"] += 1
