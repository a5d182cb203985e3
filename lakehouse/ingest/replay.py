"""A replay: open records of the quarantine that the contract takes by now enter bronze, once.

The rows are committed first, each with the id of its record in `_run_key`; then the records are closed. Whatever dies
in between is done by the next replay: it finds the rows, and closes their records. How records are judged again is
`revalidate.py`, how rows wait for their audit `staged.py`.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.errors import AuditFailed, CommitError
from lakehouse.iceberg import Commit, Lake, LakeTable, arrow_schema, connect
from lakehouse.ingest.quarantine import State, quarantine_table
from lakehouse.ingest.revalidate import FINDINGS, MARK, Revalidated, revalidating
from lakehouse.ingest.staged import PREFIX, Staged, write_judged
from lakehouse.ingest.states import REPLAYS, change, entries, replays, settle
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.quality.finding import Finding
from lakehouse.settings import Settings
from lakehouse.tables import Position, Table, Window
from lakehouse.tables.window import spans

if TYPE_CHECKING:
    from lakehouse.quality.gate import Gate

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ReplayResult:
    """What a replay did. tried = entered + there + those that are still broken.

    `entered` rows came to bronze now, `there` were in it already: by a load that read them again, or by a replay that
    did not come to its end. `broken` counts the records that still break each rule. `findings` are the gate's. With
    `held`, a blocking rule failed: the rows that "entered" stand on a branch, and their records are open as before.
    """

    tried: int = 0
    entered: int = 0
    there: int = 0
    broken: Mapping[str, int] = field(default_factory=dict)
    commit: Commit | None = None
    windows: tuple[Window, ...] = ()
    findings: tuple[Finding, ...] = ()
    held: AuditFailed | None = None
    seconds: float = 0.0

    @property
    def still_broken(self) -> int:
        """How many records are open as before."""
        return self.tried - self.entered - self.there


def replay(  # noqa: PLR0913  (all but the table are named)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    run_id: str,
    rule: str | None = None,
    dry_run: bool = False,
    gate: Gate | None = None,
) -> ReplayResult:
    """Try the open records of a bronze table again, or those of them that broke a rule; a dry run only counts.

    Safe to call again after any failure. The `gate` is that of a load: with a blocking rule of the whole table, rows
    are staged on a branch `load/...` and published when it holds; else `held` says why not. Raises ContractError,
    Fenced when a load or another replay was faster, SchemaMismatch, CommitError, CatalogError.
    """
    started = time.monotonic()
    if not lake.exists(quarantine_table(table).name):
        return ReplayResult()
    if not dry_run:
        settle(settings, lake, table, run_id=run_id)
    quarantine, bronze = lake.create(quarantine_table(table)), lake.create(table)
    # Before anything is read: what another writer brings to bronze after that is noticed.
    expected = {scope: bronze.progress(scope) for scope in (REPLAYS, LOAD_SCOPE)}
    with revalidating(settings, table) as found:
        found.look(quarantine, rule)
        replayed = found.replayed_before(bronze)
        loaded = found.loaded_since(lake) - replayed
        writing = _Writing(table, bronze, found, replayed | loaded, expected)
        staged = writing.judged(gate) if writing.ids and not dry_run else None
        if not dry_run:
            entered = writing.ids if staged is not None and staged.held is None else frozenset[str]()
            closed = {State.REPLAYED: replayed | entered, State.LOADED: loaded}
            _write_down(settings, lake, table, closed, news=found.news, run_id=run_id)
    result = ReplayResult(
        tried=found.tried,
        entered=len(writing.ids),
        there=len(replayed | loaded),
        broken=dict(found.broken),
        commit=staged.commit if staged is not None else None,
        windows=spans(writing.days),
        findings=staged.findings if staged is not None else (),
        held=staged.held if staged is not None else None,
        seconds=time.monotonic() - started,
    )
    _log.info("replayed", table=str(table.name), tried=result.tried, entered=result.entered, there=result.there)
    return result


class _Writing:
    """The rows of one replay, as `staged.py` writes and judges them."""

    def __init__(
        self,
        table: Table,
        target: LakeTable,
        found: Revalidated,
        there: frozenset[str],
        expected: Mapping[str, Position | None],
    ) -> None:
        self.table, self.target = table, target
        self._found, self._there, self._expected = found, there, expected
        self.ids = frozenset(found.passed) - there
        self.run_key = MARK + hashlib.sha256("".join(sorted(self.ids)).encode()).hexdigest()[:16]
        self.days = set[date]()

    @property
    def overtaken(self) -> bool:
        """Whether a load or another replay has come to main meanwhile."""
        return any(self.target.progress(scope) != position for scope, position in self._expected.items())

    def is_on(self, branch: str) -> bool:
        """Whether a branch has these rows already."""
        return any(snapshot.run_key == self.run_key for snapshot in self.target.snapshots(branch))

    def judged(self, gate: Gate | None) -> Staged:
        """Write the rows to main, or to a branch first. What an earlier replay of them has staged is made anew."""
        if PREFIX + self.run_key in self.target.branches():
            self.target.discard(PREFIX + self.run_key)
        return write_judged(self, gate)

    def write(self, branch: str) -> Commit:
        """Append the rows. Raises Fenced when the branch is not as it was when they were looked for in it."""
        commit = self.target.append(
            pa.RecordBatchReader.from_batches(arrow_schema(self.table.stored_columns), self._rows()),
            run_key=self.run_key,
            branch=branch,
            progress={REPLAYS: {"count": replays(self.target) + 1}},
            expected_progress=self._expected,
            summary={"lakehouse.rows-replayed": str(len(self.ids))},
        )
        if commit.rows_added != len(self.ids):
            raise CommitError(
                f"snapshot {commit.snapshot_id} of {self.table.name} does not hold what was replayed",
                expected=f"{len(self.ids)} rows",
                found=f"{commit.rows_added}",
                remedy="Roll the table back to the snapshot before, and report this.",
            )
        return commit

    def _rows(self) -> Iterator[pa.RecordBatch]:
        for batch in self._found.rows(but=self._there):
            if self.table.window_column is not None:
                days = pc.unique(batch.column(self.table.window_column).cast(pa.date32()))
                self.days |= {day for day in days.to_pylist() if day is not None}
            yield batch


def _write_down(  # noqa: PLR0913  (what is written, and by whom)
    settings: Settings,
    lake: Lake,
    table: Table,
    closed: Mapping[State, Collection[str]],
    *,
    news: Collection[Mapping[str, object]],
    run_id: str,
) -> None:
    """Close records that are in bronze, and say of the others what is wrong with them now."""
    # The number of the replay: see `settle`.
    by = str(replays(lake.table(table.name)))
    rows: list[Mapping[str, object]] = [
        {"reject_id": one, "state": state.value, "state_at": datetime.now(UTC), "state_by": run_id, "decided_by": by}
        for state, ids in closed.items()
        for one in sorted(ids)
    ]
    with connect(settings) as connection:
        # Two changes, for the second one leaves states alone: somebody may have discarded a record meanwhile.
        for columns, of in ((("state", "state_at", "state_by", "decided_by"), rows), (FINDINGS, news)):
            change(lake, table, connection, partial(_put, columns, of))


def _put(columns: Collection[str], values: Collection[Mapping[str, object]], _: LakeTable) -> pa.Table:
    return entries(columns, values)
