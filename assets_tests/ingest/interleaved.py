"""Writers and loads that take turns: what bronze must hold after each load, whatever the order.

A world is one table of a database and a lake. On the table stand several stages, each with keys of its own and writers
of its own (a connection each), who take their own random steps; nobody waits for another's lock. Loads are everybody's:
one load's fixed cost serves all stages. Every write has a value of its own, so that a row of bronze tells which write
it came from, and the rows of each stage are held against what its own writers did.

An interleaving is what one stage has lived through: the order of its writers' statements, and of the loads and kills
between them. A kill is an exception at a named step of the load, in this process; processes that die by SIGKILL at each
of these steps are those of `killed_load.py`.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg

from lakehouse.iceberg import Lake, LakeTable, effects
from lakehouse.ingest import load
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, LoadPolicy, Position, Table, TableName

Version = tuple[int, str]
Step = tuple[str, int, int, int]
"""What happens, which writer does it, to which of its keys, and how far its clock is back (seconds)."""

WRITES = ("insert", "update", "delete", "savepoint", "undone", "exception")
ENDS = ("begin", "commit", "commit", "rollback")
KILLS = ("read", "written", "committed")
"""Steps of a load at which it is killed: rows are read, files are written, the commit is made and not yet told."""
LOADS = ("load", "load", "beside", *KILLS)
WAYS = ("updated_at", "lag", "xmin", "full", "parts", "xmin parts")
WRITERS, KEYS = 3, 3

_ON_TIME = {"watermark": "updated_at", "clock": "clock_timestamp() + interval '1 second'"}
_OPTIONS: dict[str, dict[str, object]] = {
    "updated_at": _ON_TIME,
    "lag": {**_ON_TIME, "lag": 3600},
    "xmin": {"watermark": "xmin"},
    "full": {"watermark": "full"},
    # Two blocks a part.
    "parts": {**_ON_TIME, "chunk_mb": 0.016},
    "xmin parts": {"watermark": "xmin", "chunk_mb": 0.016},
}


class Killed(BaseException):
    """The load's process ends here."""


@dataclass
class World:
    """One life: `play` it, and all stages are compared after each load. `crowd` are idle connections, three a stage."""

    url: str
    state: Path
    project: Path
    way: str
    crowd: Sequence[psycopg.Connection]
    loads: int = 0
    visible_once: set[Version] = field(default_factory=set)
    gone: Counter[Version] = field(default_factory=Counter)
    there: dict[int, str] = field(default_factory=dict)
    last: Position | None = None
    begun_with: set[Version] = field(default_factory=set)
    lived: dict[int, list[object]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.state.mkdir(parents=True)
        self.settings: Settings = load_settings(
            self.project,
            state=str(self.state),
            catalog={"uri": f"sqlite:///{self.state}/catalog.db"},
            sources={"shop": {"kind": "postgres", "url": self.url}},
        )
        self.lake = Lake.open(self.settings)
        columns = (Column("id", "long", required=True), Column("value", "string"), Column("updated_at", "timestamptz"))
        self.table = Table(
            name=TableName.parse("bronze.things"),
            domain="shop",
            description="Things.",
            columns=columns,
            file=Path("defs/shop/bronze/things.yaml"),
            load=LoadPolicy("shop", {"table": "things", **_OPTIONS[self.way]}, deletes_limit=1.0),
            primary_key=("id",),
        )
        self._values = (f"{number}" for number in count())

    def play(self, stages: Sequence[Sequence[Step]], chance: random.Random) -> None:
        """Mix the steps of the stages; then everybody ends, and a last load makes bronze's newest what the source is.

        Loads among a stage's steps are loads of the whole table.
        """
        with psycopg.connect(self.url, autocommit=True) as self._look:
            self._look.execute("drop table if exists things")
            # Six rows a block, so that parts are small.
            self._look.execute(
                "create table things (id bigint primary key, value text, updated_at timestamptz not null default now(),"
                " filler text default repeat('x', 1200)) with (autovacuum_enabled = off)"
            )
            self._look.execute("insert into things (id, value) select -g, 'old' from generate_series(1, 18) g")
            try:
                waiting = [(stage, iter(steps)) for stage, steps in enumerate(stages)]
                while waiting:
                    stage, steps = turn = chance.choice(waiting)
                    if (step := next(steps, None)) is None:
                        waiting.remove(turn)
                    else:
                        self._take(stage, step, stages)
            finally:
                for writer in self.crowd:
                    writer.execute("commit")
            self._load()
            if "parts" in self.way:
                # A first load that was killed has gone to its end now; what changed since it began is for the next.
                self._load()
            self._require_current()

    def interleavings(self) -> set[tuple[object, ...]]:
        """What stages have lived through in which somebody wrote."""
        return {(self.way, *steps) for steps in self.lived.values() if any(isinstance(one, tuple) for one in steps)}

    def _take(self, stage: int, step: Step, stages: Sequence[Sequence[Step]]) -> None:
        what = step[0]
        if what in LOADS:
            for steps in self.lived.values():
                steps.append(what)
        if what in KILLS:
            self._load(killed_at=what)
        elif what == "beside":
            # While the load goes on, the stage's writers write: the first of its steps, once more.
            again = [one for one in stages[stage] if one[0] in WRITES or one[0] in ENDS][:6]
            self._load(beside=((stage, one) for one in again))
        elif what == "load":
            self._load()
        else:
            self._write(stage, step)

    def _write(self, stage: int, step: Step) -> None:
        what, number, key, back = step
        self.lived[stage].append(step)
        writer, key = self.crowd[stage * WRITERS + number], (stage * WRITERS + number) * KEYS + key
        if what in ENDS:
            in_transaction = writer.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
            if in_transaction == (what != "begin"):
                writer.execute(what)
            return
        # Only a way that is made for it meets clocks that are behind.
        at = f"now() - interval '{back if self.way in {'lag', 'xmin', 'full', 'xmin parts'} else 0} seconds'"
        one, other = next(self._values), next(self._values)
        put = (
            f"insert into things (id, value, updated_at) values ({key}, '%s', {at})"
            f" on conflict (id) do update set value = excluded.value, updated_at = excluded.updated_at"
        )
        with writer.transaction():
            if what == "delete":
                writer.execute(f"delete from things where id = {key}")
            elif what == "exception":
                writer.execute(
                    f"do $$ begin begin {put % one}; raise exception 'no'; exception when others then {put % other};"
                    " end; end $$"
                )
            elif what == "savepoint":
                with writer.transaction():
                    writer.execute(put % one)
            elif what == "undone":
                with writer.transaction(force_rollback=True):
                    writer.execute(put % one)
            else:
                writer.execute(put % one)

    def _load(self, *, killed_at: str | None = None, beside: Iterator[tuple[int, Step]] = iter(())) -> None:  # noqa: B008  (empty)
        before = self._visible()
        if "first" not in (self._position() or {}):
            self.begun_with = set(before)

        def meanwhile(_rows: int, _what: str) -> None:
            if killed_at == "read":
                raise Killed
            if (step := next(beside, None)) is not None:
                self._write(*step)
                self.visible_once |= set(self._visible())

        finished = False
        with suppress(Killed), _dying(killed_at):
            load(self.settings, self.lake, self.table, run_id="1", on_progress=meanwhile)
            finished = True
        if killed_at == "committed" and "parts" not in self.way:
            # What it had to bring is there, all of it.
            finished = True
        self.loads += 1
        self.visible_once |= set(before) | set(self._visible())
        if self.lake.exists(self.table.name):
            self._compare(before, finished=finished)

    def _compare(self, before: dict[Version, str], *, finished: bool) -> None:
        stored, marked = self._bronze()
        twice = {version: times for version, times in stored.items() if times > 1}
        assert not twice, f"doubled: {twice}"
        assert not stored.keys() - self.visible_once, f"never committed: {stored.keys() - self.visible_once}"
        position = self._position()
        # A bound that a transaction holds where it was gives nothing to read: what is behind waits until it moves.
        held, self.last = self.way == "lag" and position == self.last, position
        if position is None or not finished or held:
            return
        # What changed while parts were read, also by loads that were killed, is for the next load.
        due = set(before) & set(self._visible()) & self.begun_with if "parts" in self.way else set(before)
        if "watermark" in position:
            due = {version for version in due if before[version] < str(position["watermark"])[:26]}
        assert not due - stored.keys(), f"lost: {due - stored.keys()}"
        if self.way == "full":
            self._count_gone(dict(before.keys()))
            assert marked == self.gone

    def _count_gone(self, now: dict[int, str]) -> None:
        self.gone.update((key, value) for key, value in self.there.items() if key not in now)
        self.there = now

    def _position(self) -> Position | None:
        return self.lake.table(self.table.name).progress("load") if self.lake.exists(self.table.name) else None

    def _visible(self) -> dict[Version, str]:
        """Every row that a snapshot shows now, with its watermark."""
        rows = self._look.execute(
            "select id, value, to_char(updated_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') from things"
        )
        return {(key, value): at for key, value, at in rows.fetchall()}

    def _bronze(self) -> tuple[Counter[Version], Counter[Version]]:
        stored, marked = Counter[Version](), Counter[Version]()
        for row in self.lake.table(self.table.name).scan().read_all().to_pylist():
            (marked if row.get("_deleted") else stored)[row["id"], row["value"]] += 1
        return stored, marked

    def _require_current(self) -> None:
        """The newest row of each key is the source's; under `full` also of keys that went."""
        newest: dict[int, tuple[object, str, bool]] = {}
        for row in self.lake.table(self.table.name).scan().read_all().to_pylist():
            found = (row["_extracted_at"], row["value"], bool(row.get("_deleted")))
            newest[row["id"]] = max(newest.get(row["id"], found), found)
        source = dict(self._visible().keys())
        current = {key: value for key, (_, value, deleted) in newest.items() if not deleted}
        assert {key: current.get(key) for key in source} == source
        assert self.way != "full" or current == source


@contextmanager
def _dying(step: str | None) -> Iterator[None]:
    """Inside, a load is killed when it has taken a step."""
    owner: Any
    owner, name = {"written": (effects, "write_files"), "committed": (LakeTable, "append")}.get(str(step), (None, ""))
    if owner is None:
        yield
        return
    real: Callable[..., object] = getattr(owner, name)

    def last(table: LakeTable, *given: object, **named: object) -> object:
        real(table, *given, **named)
        raise Killed

    with patch.object(owner, name, last):
        yield
