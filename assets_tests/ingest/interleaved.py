"""Writers and loads that take turns: what bronze must hold after each load, whatever the order.

The world is one table of a database, three writers with a connection each, and a lake. Keys belong to one writer each,
so that nobody waits for a lock. Every write has a value of its own: a row of bronze tells which write it came from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg

from lakehouse.iceberg import Lake
from lakehouse.ingest import load
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, LoadPolicy, Position, Table, TableName

Version = tuple[int, str]
Step = tuple[str, int, int, int]
"""What happens, which writer does it, to which of its keys, and how far its clock is back (seconds)."""

WRITES = ("insert", "update", "delete", "savepoint", "undone", "exception")
ENDS = ("begin", "commit", "commit", "rollback")
LOADS = ("load", "load", "killed", "beside")
WAYS = ("updated_at", "lag", "xmin", "full", "parts", "xmin parts")
WRITERS, KEYS = 3, 3

_ON_TIME = {"watermark": "updated_at", "clock": "clock_timestamp() + interval '1 second'"}
_OPTIONS: dict[str, dict[str, object]] = {
    "updated_at": _ON_TIME,
    "lag": {**_ON_TIME, "lag": 3600},
    "xmin": {"watermark": "xmin"},
    "full": {"watermark": "full"},
    # A block a part.
    "parts": {**_ON_TIME, "chunk_mb": 0.008},
    "xmin parts": {"watermark": "xmin", "chunk_mb": 0.008},
}


class Killed(BaseException):
    """The load's process ends here."""


@dataclass
class World:
    """One life: `play` it, and it is compared after each load."""

    url: str
    state: Path
    project: Path
    way: str
    loads: int = 0
    visible_once: set[Version] = field(default_factory=set)
    gone: Counter[Version] = field(default_factory=Counter)
    there: dict[int, str] = field(default_factory=dict)
    last: Position | None = None

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
            load=LoadPolicy("shop", {"table": "things", **_OPTIONS[self.way]}),
            primary_key=("id",),
        )
        self._values = (f"{number}" for number in count())

    def play(self, steps: Sequence[Step]) -> None:
        """Take these steps; then everybody ends, and a last load makes the newest of bronze what the source is."""
        with ExitStack() as stack:
            self._look = stack.enter_context(psycopg.connect(self.url, autocommit=True))
            self._look.execute("drop table if exists things")
            # Six rows a block, so that parts are small.
            self._look.execute(
                "create table things (id bigint primary key, value text, updated_at timestamptz not null default now(),"
                " filler text default repeat('x', 1200)) with (autovacuum_enabled = off)"
            )
            self._look.execute("insert into things (id, value) select g, 'old' from generate_series(100, 117) g")
            self._writers = [stack.enter_context(psycopg.connect(self.url, autocommit=True)) for _ in range(WRITERS)]
            for step in steps:
                self._take(step, steps)
            for writer in self._writers:
                writer.execute("commit")
            self._load()
            self._require_current()

    def _take(self, step: Step, steps: Sequence[Step]) -> None:
        what = step[0]
        if what == "killed":
            self._load(killed=True)
        elif what == "beside":
            # While the load goes on, others write: the first of this life's steps, once more.
            self._load(beside=iter([one for one in steps if one[0] in WRITES or one[0] in ENDS][:6]))
        elif what == "load":
            self._load()
        else:
            self._write(step)

    def _write(self, step: Step) -> None:
        what, number, key, back = step
        writer, key = self._writers[number], number * KEYS + key
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

    def _load(self, *, killed: bool = False, beside: Iterator[Step] = iter(())) -> None:  # noqa: B008  (empty)
        before = self._visible()

        def meanwhile(_rows: int, _what: str) -> None:
            if killed:
                raise Killed
            if (step := next(beside, None)) is not None:
                self._write(step)
                self.visible_once |= set(self._visible())

        finished = False
        with suppress(Killed):
            load(self.settings, self.lake, self.table, run_id="1", on_progress=meanwhile)
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
        position = self.lake.table(self.table.name).progress("load")
        # A bound that a transaction holds where it was gives nothing to read: what is behind waits until it moves.
        held, self.last = self.way == "lag" and position == self.last, position
        if position is None or not finished or held:
            return
        # What changed while parts were read is for the next load.
        due = set(before) & set(self._visible()) if "parts" in self.way else set(before)
        if "watermark" in position:
            due = {version for version in due if before[version] < str(position["watermark"])[:26]}
        assert not due - stored.keys(), f"lost: {due - stored.keys()}"
        if self.way == "full":
            now = dict(before)
            for key, value in self.there.items():
                if key not in {one for one, _ in now}:
                    self.gone[key, value] += 1
            self.there = dict(now.keys())
            assert marked == self.gone

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
