"""What becomes of quarantined records: one way to change their states, and the changes that take no second look.

A load puts its rejects here as `held`, before its rows are committed, and names them in the snapshot that brings the
rows. So bronze says whether they are `open`, and whoever asks first writes it down: nothing is lost when a load dies
between its two commits, and nobody replays a record that the next load will read again. To look at records anew, and
to let them in, is `replay.py`.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import duckdb
import pyarrow as pa

from lakehouse.errors import Fenced, SettingsError
from lakehouse.iceberg import Commit, Lake, LakeTable, connect
from lakehouse.ingest.quarantine import QUARANTINE_SCHEMA, WAITING, State, quarantine_table
from lakehouse.ledger import LOAD_SCOPE
from lakehouse.settings import Settings
from lakehouse.tables import Table

ATTEMPT = "lakehouse.rejects"
"""The key in the summary of a load's snapshot: the name of the rejects that were stored for it."""
REPLAYS = "replay"
"""The scope under which bronze counts its replays: of two at once one is refused, and a restore takes the count back.

A load that holds its rows against bronze's moves it too (`last`), so that neither misses what the other brings.
"""
_CHANGES = "changes"
"""The scope of a quarantine table: counts its changes, so that none is made of what another writer has changed."""
_ATTEMPTS = 5


def change(
    lake: Lake,
    table: Table,
    connection: duckdb.DuckDBPyConnection,
    rows_of: Callable[[LakeTable], pa.Table],
    *,
    summary: Mapping[str, str] | None = None,
) -> Commit | None:
    """Put rows into the quarantine of a table by their `reject_id`; None if there are none to put.

    `rows_of` is asked for them with the quarantine as it is, and again when another writer was faster. Raises Fenced
    when that happens too often, and what LakeTable.merge raises.
    """
    target = lake.create(quarantine_table(table))
    for attempt in range(1, _ATTEMPTS + 1):
        # Before the rows are read: what changes after that is noticed.
        seen = target.progress(_CHANGES)
        rows = rows_of(target)
        if not rows.num_rows:
            return None
        count = int(str((seen or {}).get("count", 0)))
        try:
            return target.merge(
                rows,
                key=["reject_id"],
                connection=connection,
                run_key=f"{_CHANGES}-{uuid.uuid4().hex}",
                progress={_CHANGES: {"count": count + 1}},
                expected_progress={_CHANGES: seen},
                summary=summary,
            )
        except Fenced:
            if attempt == _ATTEMPTS:
                raise
    return None


def entries(columns: Collection[str], values: Collection[Mapping[str, object]]) -> pa.Table:
    """Rows for `change`: these columns of records, besides their ids; the others stay as they are."""
    schema = pa.schema([QUARANTINE_SCHEMA.field(name) for name in ("reject_id", *columns)])
    return pa.Table.from_pylist(list(values), schema=schema)


def waiting(lake: Lake, table: Table) -> Counter[State]:
    """How many records of a table are in no table but the quarantine, by state."""
    name = quarantine_table(table).name
    if not lake.exists(name):
        return Counter()
    among = ", ".join(f"'{state}'" for state in WAITING)
    states = lake.table(name).scan(columns=["state"], where=f"state in ({among})").read_all()
    return Counter(map(State, states.column("state").to_pylist()))


def settle(settings: Settings, lake: Lake, table: Table, *, run_id: str) -> None:
    """Write down what bronze says of records that are `held` or `replayed`. Before a load or replay, and after a load.

    A held one that the snapshot of its load names is `open`. While main has not moved since, it is read again, and
    stays. Else a load has gone through that read it again, and did not reject it: it is `loaded`. A replayed one is
    `open` again when a restore has taken its replay back.
    """
    if not lake.exists(table.name) or not lake.exists(quarantine_table(table).name):
        return
    rows_of = partial(_settled, lake.look(table.name), run_id)
    # Nearly always there is nothing to write down, and nothing is opened for it.
    if rows_of(lake.create(quarantine_table(table))).num_rows:
        with connect(settings) as connection:
            change(lake, table, connection, rows_of)


def _settled(bronze: LakeTable, run_id: str, target: LakeTable) -> pa.Table:
    said, now = _Said(bronze), datetime.now(UTC)
    columns = ["reject_id", "state", "decided_by", "held_from", "state_at"]
    where = f"state in ('{State.HELD}', '{State.REPLAYED}')"
    changed = [
        {"reject_id": one["reject_id"], "state": state.value, "state_at": now, "state_by": run_id}
        for one in target.scan(columns=columns, where=where).read_all().to_pylist()
        if (state := said.state_of(one)) != one["state"]
    ]
    return entries(("state", "state_at", "state_by"), changed)


def replays(bronze: LakeTable) -> int:
    """How many replays main of a bronze table holds."""
    return int(str((bronze.progress(REPLAYS) or {}).get("count", 0)))


class _Said:
    """What main of a bronze table says of its loads and replays."""

    def __init__(self, bronze: LakeTable) -> None:
        history = bronze.snapshots()
        self._published = {snapshot.summary.get(ATTEMPT) for snapshot in history}
        self._position = json.dumps(bronze.progress(LOAD_SCOPE), sort_keys=True)
        self._replays = replays(bronze)
        # Behind the oldest snapshot nothing is known, unless it was the first.
        self._since = history[-1].committed_at if history and history[-1].parent_id is not None else None

    def state_of(self, record: Mapping[str, Any]) -> State:
        """Of a record that is held or replayed."""
        by, stored_at = record["decided_by"], record["state_at"]
        if record["state"] == State.REPLAYED:
            return State.OPEN if int(by) > self._replays else State.REPLAYED
        if by is not None and by in self._published:
            return State.OPEN
        if record["held_from"] == self._position:
            return State.HELD
        if stored_at is None or (self._since is not None and stored_at < self._since):
            # Nobody can tell any more. A replay lets no record in that a load has brought.
            return State.OPEN
        return State.LOADED


def discard(  # noqa: PLR0913  (which records, by whom and why)
    settings: Settings,
    lake: Lake,
    table: Table,
    *,
    ids: Collection[str] = (),
    rule: str | None = None,
    why: str,
    run_id: str,
    dry_run: bool = False,
) -> int:
    """Give open records up, by beginnings of their ids or by a rule that they broke; how many.

    They stay in the quarantine, as `discarded`, and are never replayed. Raises SettingsError for a beginning that does
    not name exactly one record, and for a record that is not open.
    """
    settle(settings, lake, table, run_id=run_id)
    count = 0

    def rows_of(target: LakeTable) -> pa.Table:
        nonlocal count
        columns = ["reject_id", "broken_rules", "state"]
        every = target.scan(columns=columns).read_all().to_pylist()
        chosen = [_one(table, every, text) for text in dict.fromkeys(ids)] if rule is None else _by_rule(every, rule)
        count = len(chosen)
        said = {"state": State.DISCARDED.value, "state_at": datetime.now(UTC), "state_by": run_id, "why": why}
        rows = [{"reject_id": one, **said} for one in chosen]
        return entries(("state", "state_at", "state_by", "why"), [] if dry_run else rows)

    if lake.exists(quarantine_table(table).name):
        with connect(settings) as connection:
            change(lake, table, connection, rows_of)
    return count


def _by_rule(every: Collection[Mapping[str, str]], rule: str) -> list[str]:
    return [one["reject_id"] for one in every if one["state"] == State.OPEN and rule in json.loads(one["broken_rules"])]


def _one(table: Table, every: Collection[Mapping[str, str]], text: str) -> str:
    found = [one for one in every if one["reject_id"].startswith(text)]
    if len(found) != 1:
        raise SettingsError(
            f"{text!r} names {len(found) or 'no'} records in {quarantine_table(table).name}",
            expected="the beginning of exactly one id",
            remedy=f"Look at the ids: `lakehouse reject show {table.name}`.",
        )
    if found[0]["state"] != State.OPEN:
        raise SettingsError(
            f"record {text} of {quarantine_table(table).name} is not open",
            expected=State.OPEN.value,
            found=found[0]["state"],
            remedy="A record that is held is read again by the next load; the others are done with.",
        )
    return found[0]["reject_id"]
