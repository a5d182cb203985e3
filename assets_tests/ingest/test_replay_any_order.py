"""Loads, replays, discards and contracts in any order, stopped at any commit: a record is in bronze once, or waits."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from assets_tests.exploring import Counted, explore
from assets_tests.ingest.payments import QUARANTINE, ids, paid, rows, write
from lakehouse.errors import LoadRejected
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.ingest import discard, load, replay
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, LoadPolicy, Rule, Table, TableName

EXAMPLES, STEPS = 12, 12
ROOT = Path(__file__).parents[2]
KILL = st.one_of(st.none(), st.tuples(st.integers(1, 4), st.booleans()))
"""At which commit the work is stopped, and whether that is before it."""
STRICT = Table(
    name=TableName.parse("bronze.payments"),
    domain="shop",
    description="Payments.",
    columns=(Column("payment_id", "string", required=True), Column("amount", "long")),
    file=Path("defs/shop/bronze/payments.yaml"),
    load=LoadPolicy("landing", {"files": "*.jsonl"}, 1.0),
    rules=(Rule("large", "amount > 100"),),
)


class Stopped(BaseException):
    """As a kill: nobody catches it."""


@contextmanager
def stopped_at(place: tuple[int, bool] | None) -> Iterator[None]:
    """Stop what is done inside at so many-th commit, before or after it."""
    real, made = (LakeTable.append, LakeTable.merge), 0

    def stopping(effect: Callable[..., object]) -> Callable[..., object]:
        def commit(*given: object, **promises: object) -> object:
            nonlocal made
            made += 1
            if place == (made, True):
                raise Stopped
            done = effect(*given, **promises)
            if place == (made, False):
                raise Stopped
            return done

        return commit

    LakeTable.append, LakeTable.merge = map(stopping, real)  # type: ignore[method-assign]  # for the length of the block
    try:
        with suppress(Stopped):
            yield
    finally:
        LakeTable.append, LakeTable.merge = real  # type: ignore[method-assign]  # as it was


class Records(Counted):
    done: ClassVar[Counter[str]] = Counter()

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        state = Path(self.folder.name)
        (state / "landing").mkdir()
        self.settings: Settings = load_settings(
            ROOT,
            state=str(state),
            catalog={"uri": f"sqlite:///{state}/catalog.db"},
            sources={"landing": {"kind": "files", "root": "landing"}},
        )
        self.lake = Lake.open(self.settings)
        self.table = STRICT
        self.sent: list[str] = []
        self.files = 0
        self.done["examples"] += 1

    @rule(amounts=st.lists(st.sampled_from([5, 500]), min_size=1, max_size=4), junk=st.booleans())
    def deliver(self, amounts: list[int], junk: bool) -> None:
        new = [f"P{len(self.sent) + place:03}" for place in range(len(amounts))]
        records = [{**paid(one), "amount": amount} for one, amount in zip(new, amounts, strict=True)]
        self.files += 1
        write(self.settings, f"{self.files:03}.jsonl", *records, *(["{junk"] if junk else []))
        self.sent += new
        self.done["deliveries"] += 1

    @rule(strict=st.booleans(), limit=st.sampled_from([0.4, 1.0]))
    def say(self, strict: bool, limit: float) -> None:
        policy = LoadPolicy("landing", {"files": "*.jsonl"}, limit)
        self.table = replace(STRICT, rules=STRICT.rules if strict else (), load=policy)

    @rule(stop=KILL)
    def load(self, stop: tuple[int, bool] | None) -> None:
        with stopped_at(stop), suppress(LoadRejected):
            load(self.settings, self.lake, self.table, run_id="load")
            self.done["loads"] += 1
            if stop is None:
                self.nothing_is_lost()

    @rule(stop=KILL)
    def replay(self, stop: tuple[int, bool] | None) -> None:
        if self.lake.exists(STRICT.name):
            with stopped_at(stop):
                result = replay(self.settings, self.lake, self.table, run_id="replay")
                self.done["replays"] += 1
                self.done["replayed"] += result.entered
                if stop is None:
                    assert replay(self.settings, self.lake, self.table, run_id="again").entered == 0

    @rule(number=st.integers(0, 9))
    def discard(self, number: int) -> None:
        found = sorted(str(one["reject_id"]) for one in rows(self.lake, QUARANTINE) if one["state"] == "open")
        if found:
            chosen = found[number % len(found)]
            discard(self.settings, self.lake, self.table, ids=[chosen], why="chance", run_id="me")
            self.done["discarded"] += 1

    @invariant()
    def nothing_is_there_twice(self) -> None:
        if hasattr(self, "lake"):
            stored = ids(self.lake, STRICT)
            assert len(stored) == len(set(stored))

    def nothing_is_lost(self) -> None:
        kept = {str(one["payload"]) for one in rows(self.lake, QUARANTINE) if one["state"] in {"open", "discarded"}}
        stored = ids(self.lake, STRICT)
        for one in self.sent:
            assert (one in stored) + any(f'"{one}"' in payload for payload in kept) >= 1, one

    def teardown(self) -> None:
        if not hasattr(self, "lake"):
            return
        self.say(strict=False, limit=1.0)
        self.load(None)
        self.replay(None)
        gone = {str(one["payload"]) for one in rows(self.lake, QUARANTINE) if one["state"] == "discarded"}
        wanted = [one for one in self.sent if not any(f'"{one}"' in payload for payload in gone)]
        stored = [one for one in ids(self.lake, STRICT) if one in wanted]
        assert stored == wanted
        left = {str(one["state"]) for one in rows(self.lake, QUARANTINE) if '"P' in str(one["payload"])}
        assert left <= {"loaded", "replayed", "discarded"}
        self.folder.cleanup()


def test_no_order_loses_or_doubles_a_row(capfd: pytest.CaptureFixture[str]) -> None:
    explore(Records, EXAMPLES, STEPS, capfd)
    assert Records.done["replayed"] > 0
    assert Records.done["discarded"] > 0
