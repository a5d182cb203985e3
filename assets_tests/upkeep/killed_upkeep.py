"""The child that `test_kill_upkeep.py` starts: it keeps tables up and is killed at a named step of each work.

As `iceberg/killed.py`, whose steps of files and swaps these are; here two kinds come beside them: a group of files that
is written or proved, and a deletion, each of which is done in halves, so that there is a step in the middle of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.iceberg.killed import BEGIN, ROOT, Work, contract, forked, hook, table_name
from lakehouse.iceberg import CompactionStep, Lake, LakeTable, connect
from lakehouse.settings import Settings, load_settings
from lakehouse.storage import Store
from lakehouse.storage.open import open_store
from lakehouse.upkeep.orphans import sweep_orphans

DAYS = (date(2026, 1, 1), date(2026, 1, 2))
SAFE_AGE = timedelta(hours=72)
DAY = timedelta(days=1)

Reach = Callable[[str], None]


class Place:
    """A lake, and what upkeep of a table in it needs."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.lake = settings, Lake.open(settings)

    @property
    def store(self) -> Store:
        return open_store(self.settings, self.settings.warehouse)

    def table(self, work: str, case: str) -> LakeTable:
        return self.lake.table(contract(table_name(work, case)).name)

    def compact(self, table: LakeTable, reach: Reach) -> object:
        """Each day's files become one, by DuckDB."""

        def told(step: CompactionStep) -> None:
            if step.phase.value != "committed":
                reach(step.phase.value)

        by_day: dict[str, list[str]] = {}
        for file in table.live_files():
            by_day.setdefault(file.partition, []).append(file.path)
        with connect(self.settings) as duck:
            groups = [by_day[day] for day in sorted(by_day) if len(by_day[day]) > 1]
            return table.compact(groups, connection=duck, progress=told)

    def expire(self, table: LakeTable, reach: Reach) -> object:
        """All but main's head."""
        return table.expire_snapshots(Halves(self.store, reach), now=datetime.now(UTC) + DAY)

    def sweep(self, table: LakeTable, reach: Reach, *, after: timedelta = 2 * SAFE_AGE) -> object:
        """By the clock of some days later."""
        now, run_id = datetime.now(UTC) + after, f"sweep-{after}"
        return sweep_orphans(
            self.lake, table.name, Halves(self.store, reach), safe_age=SAFE_AGE + SAFE_AGE / 2, now=now, run_id=run_id
        )

    def seed(self, table: LakeTable) -> None:
        """Two files of each of two days, and properties that let all snapshots but the head expire."""
        for number in range(2):
            values = {"order_id": [number, number + 2], "order_date": DAYS}
            table.append(
                pa.table(values, schema=table.schema()), run_key=f"seed {number}", progress={"shop": {"at": number}}
            )
        uri = self.settings.catalog.uri.get_secret_value()
        stock = SqlCatalog(self.settings.catalog.name, uri=uri, warehouse=self.settings.warehouse)
        loaded = stock.load_table(table.name.key)
        properties = {"history.expire.min-snapshots-to-keep": "1", "history.expire.max-snapshot-age-ms": "1"}
        loaded.transaction().set_properties(properties).commit_transaction()
        stock.engine.dispose()

    def seed_dropped(self, table: LakeTable) -> None:
        """Files that only the past names: compaction has written them anew."""
        self.seed(table)
        self.compact(table, _nothing)

    def seed_garbage(self, table: LakeTable) -> None:
        """Files that nothing names and that have been sighted: what a killed writer left."""
        self.seed(table)
        for number in range(4):
            self.store.put(f"{_folder(table)}/data/left-{number}.parquet", b"left")
        self.sweep(table, _nothing, after=SAFE_AGE * 2)


class Halves:
    """A store that deletes half of the files, says so, and then the other half."""

    def __init__(self, store: Store, reach: Reach) -> None:
        self._store, self._reach = store, reach

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever a store has)
        return getattr(self._store, name)

    def delete(self, paths: Iterable[str]) -> Any:  # noqa: ANN401  (what the store answers)
        asked = list(paths)
        self._store.delete(asked[: len(asked) // 2])
        self._reach("half")
        answer = self._store.delete(asked)
        self._reach("deletion")
        return answer


def _nothing(_step: str) -> None:
    """Nobody listens."""


def works(place: Place) -> dict[str, Work]:
    """What can be killed; `act` is for the one who does it again afterwards."""
    group = ("data 1", "written 1", "proved 1", "data 2", "written 2", "proved 2")
    commit = ("manifest 1", "manifest 2", "list 1", "metadata 1", "swap 1")
    deletion = ("half 1", "deletion 1", "half 2", "deletion 2", "half 3", "deletion 3")
    ledger = ("data 1", "manifest 1", "list 1", "metadata 1", "swap 1")
    return {
        "compact": Work(place.seed, partial(place.compact, reach=_nothing), (*group, *commit)),
        "expire": Work(
            place.seed_dropped,
            partial(place.expire, reach=_nothing),
            ("metadata 1", "swap 1", *deletion, "metadata 2", "swap 2"),
        ),
        "sweep": Work(
            place.seed_garbage,
            partial(place.sweep, reach=_nothing, after=SAFE_AGE * 4),
            ("half 1", "deletion 1", *ledger),
        ),
    }


def _folder(table: LakeTable) -> str:
    """Where the table's files are, as the store names it."""
    path = table.live_files()[0].path
    return path[path.index(str(table.name.layer)) :].rpartition("/data/")[0]


def _case(work: str, case: str, settings: Settings, say: int) -> None:
    place = Place(settings)
    what = works(place)[work]
    table = place.lake.create(contract(table_name(work, case)))
    what.prepare(table)
    if case == BEGIN:
        return
    reach = hook(case, say)
    acts = {"compact": place.compact, "expire": place.expire, "sweep": partial(place.sweep, after=SAFE_AGE * 4)}
    acts[work](table, reach)


def main(state: str, warehouse: str, name: str, uri: str) -> None:
    """Run every case."""
    settings = load_settings(ROOT, state=state, warehouse=warehouse, catalog={"name": name, "uri": uri})
    # Threads of a DuckDB or of an open store do not survive a fork: each case opens its own.
    for work, what in works(Place(settings)).items():
        for case in what.cases:
            sys.stdout.write(json.dumps(forked(work, case, partial(_case, work, case, settings))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
