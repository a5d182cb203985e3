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

EXAMPLES, STEPS = 12, 8
ROOT = Path(__file__).parents[2]
KILL = st.one_of(st.none(), st.none(), st.tuples(st.integers(1, 4), st.booleans()))
"""At which commit the work is stopped, and whether that is before it."""
AMOUNTS = st.lists(st.sampled_from([5, 500]), min_size=1, max_size=4)
LIMIT = st.sampled_from([0.4, 1.0])
STRICT = Table(
    name=TableName.parse("bronze.payments"),
    domain="shop",
    description="Payments.",
    columns=(Column("payment_id", "string", required=True), Column("amount", "long")),
    file=Path("defs/shop/bronze/payments.yaml"),
    load=LoadPolicy("landing", {"files": "*.jsonl"}, 1.0),
    rules=(Rule("large", "amount > 100"),),
)


def said(*, strict: bool, limit: float = 1.0) -> Table:
    """The contract, with its rule or without."""
    policy = LoadPolicy("landing", {"files": "*.jsonl"}, limit)
    return replace(STRICT, rules=STRICT.rules if strict else (), load=policy)


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
        self.sent: list[str] = []
        self.files = 0
        self.done["examples"] += 1

    @rule(amounts=AMOUNTS, junk=st.booleans(), strict=st.booleans(), limit=LIMIT, stop=KILL)
    def load(
        self,
        *,
        amounts: list[int],
        junk: bool,
        strict: bool,
        limit: float,
        stop: tuple[int, bool] | None,
    ) -> None:
        new = [f"P{len(self.sent) + place:03}" for place in range(len(amounts))]
        records = [{**paid(one), "amount": amount} for one, amount in zip(new, amounts, strict=True)]
        self.files += 1
        write(self.settings, f"{self.files:03}.jsonl", *records, *(["{junk"] if junk else []))
        self.sent += new
        self.done["loads"] += 1
        done = False
        with stopped_at(stop), suppress(LoadRejected):
            load(self.settings, self.lake, said(strict=strict, limit=limit), run_id="load")
            done = True
        self.done["loads refused or stopped"] += not done
        if done:
            self.nothing_is_lost()

    @rule(strict=st.booleans(), stop=KILL)
    def replay(self, *, strict: bool, stop: tuple[int, bool] | None) -> None:
        if not self.lake.exists(STRICT.name):
            return
        table = said(strict=strict)
        with stopped_at(stop):
            self.done["replays"] += 1
            self.done["replayed"] += replay(self.settings, self.lake, table, run_id="replay").entered
            if stop is None:
                assert replay(self.settings, self.lake, table, run_id="again").entered == 0

    @rule(number=st.integers(0, 9))
    def discard(self, number: int) -> None:
        found = sorted(str(one["reject_id"]) for one in rows(self.lake, QUARANTINE) if one["state"] == "open")
        if found:
            chosen = found[number % len(found)]
            discard(self.settings, self.lake, STRICT, ids=[chosen], why="chance", run_id="me")
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
        self.load(amounts=[500], junk=False, strict=False, limit=1.0, stop=None)
        self.replay(strict=False, stop=None)
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
    assert Records.done["loads refused or stopped"] > 0
