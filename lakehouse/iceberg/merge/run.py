"""One merge of one table: rounds of locate, resolve, write and commit.

What a merge makes of the rows that it finds is a `Strategy`'s (`strategy.py`); which files a round makes, `written.py`;
how a snapshot lands, `commits/commit.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count

import duckdb
import structlog
from pyiceberg.schema import Schema
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.commits.commit import NOTHING, Beside, already_done, commit_change
from lakehouse.iceberg.commits.intent import AlreadyDone, Intent, Overtaken
from lakehouse.iceberg.commits.outcome import MERGE, Commit, nothing_new
from lakehouse.iceberg.commits.produce import Change
from lakehouse.iceberg.commits.retry import Backoff
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.merge.found import Found
from lakehouse.iceberg.merge.rules import Rules, Way
from lakehouse.iceberg.merge.source import Source
from lakehouse.iceberg.merge.strategy import Round, Strategy
from lakehouse.iceberg.merge.written import Written, write
from lakehouse.iceberg.reads.sources import Sources
from lakehouse.iceberg.schemas.evolve import following
from lakehouse.iceberg.selection.plan import ManifestsRead, Plan, Touched, plan
from lakehouse.tables import Table

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Run:
    """One merge of the rows that wait in `source`. See `Merging.merge`.

    `declared`: the contract that the table follows from the new snapshot on.
    """

    load: Callable[[], IcebergTable]
    cursor: duckdb.DuckDBPyConnection
    intent: Intent
    source: Source
    rules: Rules
    strategy: Strategy
    way: Way | None
    declared: Table | None = None

    def land(self, table: IcebergTable) -> Commit:
        """Merge into the table as it is, and again as long as other writers are faster.

        Raises CommitConflict when the time for that is over, or when the columns of the rows changed meanwhile.
        """
        pauses = Backoff.of(table.properties).pauses()
        schema = self._follow(table)[0].schema()
        for rounds in count(1):
            try:
                return self._round(table, rounds, schema)
            except AlreadyDone as done:
                return already_done(self.intent, table.metadata, done)
            except Overtaken as overtaken:
                pause = next(pauses, None)
                _log.info("merge overtaken", table=str(self.intent.table), rounds=rounds, reason=overtaken.reason)
                if pause is None:
                    raise self._conflict(overtaken.reason, found=f"the same in {rounds} rounds") from None
            time.sleep(pause)
            table = self.load()
        raise AssertionError  # pragma: no cover  (rounds are counted without end)

    def _follow(self, now: IcebergTable) -> tuple[IcebergTable, Beside]:
        """The table as the new snapshot will find it, and what is swapped beside that for it."""
        return (now, NOTHING) if self.declared is None else following(now, self.declared)

    def _round(self, loaded: IcebergTable, rounds: int, schema: Schema) -> Commit:
        """One snapshot, or none where there is nothing to do. Raises Overtaken; then nothing of it is left."""
        head, name = self.intent.check(loaded.metadata), self.intent.table
        table, beside = self._follow(loaded)
        if not self.rules.fit(schema, table.schema()):
            raise self._conflict("columns of the rows were changed")
        bounds, read = self.source.bounds(), ManifestsRead()
        with catalog_errors(f"planning a merge into {name}"):
            candidates = plan(table.metadata, table.io, self.intent.branch, bounds.on(table.metadata), read)
        sources = Sources(self.cursor, name, table)
        found = Found(self.cursor, sources, name, table, self.rules)
        found.look(candidates.touched)
        now = Round(self.cursor, name, table, self.rules, self.source, sources, found)
        resolved = self.strategy.resolve(now)
        try:
            written = write(now, resolved, self.way)
        except BaseException:
            resolved.discard()
            raise
        if not written.added and not written.touched and not resolved.summary and not self.intent.progress:
            return nothing_new(name, self.intent.branch, head)
        check = _Check(found, candidates.touched, {of.path for of in written.touched})

        def replan(metadata: TableMetadata) -> Plan:
            if not resolved.holds(metadata):
                raise Overtaken("another writer deleted keys, or brought some back,")
            return check.of(plan(metadata, table.io, self.intent.branch, bounds.on(metadata), read))

        told = {**resolved.counts, **written.files, "rounds": rounds}
        intent = replace(
            self.intent,
            summary={**self.intent.summary, **resolved.summary, MERGE: json.dumps(told, separators=(",", ":"))},
        )
        change = Change(
            _operation(written),
            check.of(candidates),
            replan,
            written.removed,
            written.rows,
            hiding=written.hiding.added,
            superseded=written.hiding.superseded,
        )
        try:
            return commit_change(loaded, intent, written.added, change, beside=beside)
        except CommitConflict:
            # One of them is about a snapshot that landed.
            raise
        except (Overtaken, CommitError):
            written.remove()
            resolved.discard()
            raise

    def _conflict(self, what: str, found: str | None = None) -> CommitConflict:
        return CommitConflict(
            f"{what} while {self.intent.table} was merged on branch {self.intent.branch!r}",
            found=found,
            remedy="Nothing was written. Run again, when fewer write to the table.",
        )


class _Check:
    """What a round has seen of the table, against what a later head shows.

    A file that was not looked into, or that shows other rows since, must not hold a key of ours; it has to be asked
    only once. Files in which something was found must show the very same rows, for what comes was made from the rows
    that stay, too: a newer row keeps an older one out, and a version ends where the next one begins.
    """

    def __init__(self, found: Found, seen: Sequence[Touched], gone_from: Collection[str]) -> None:
        self._found = found
        self._seen = Plan(tuple(seen)).content
        self._ours = {path: self._seen[path] for path in found.holding()}
        self._gone_from = gone_from

    def of(self, candidates: Plan) -> Plan:
        """The plan with only the files that rows go from. Raises Overtaken."""
        content = candidates.content
        if {path: content.get(path) for path in self._ours} != self._ours:
            raise Overtaken("rows with the same keys were changed, or put into other files,")
        new = [of for of in candidates.touched if self._seen.get(of.path) != content[of.path]]
        if new and self._found.holds(new):
            raise Overtaken("another writer wrote a key of these rows")
        self._seen |= {of.path: content[of.path] for of in new}
        return replace(candidates, touched=tuple(of for of in candidates.touched if of.path in self._gone_from))


def _operation(written: Written) -> Operation:
    if not written.touched:
        return Operation.APPEND
    return Operation.OVERWRITE if written.added else Operation.DELETE
