"""What a model that enters its table by key has to compute: the keys that changed since the table was last built.

The macro `in_changes` leaves a function in the model's SQL; here it gets its meaning, on the cursor that runs the SQL.
How far the table has followed each one that it reads is a position as in `changes/consumed.py`, with a hash of all that
the rows depend on beside data: where that has become another, everything is read again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import duckdb
import pyarrow as pa
import structlog

from lakehouse.changes.consumed import NOTHING, Consumed, followed, position_of, scope_of
from lakehouse.changes.days import still_there
from lakehouse.errors import CommitError, QueryError, TransformError
from lakehouse.iceberg import Lake, snapshots_read
from lakehouse.tables import Position, Table, TableName
from lakehouse.tables.sql import quote

_log = structlog.get_logger(__name__)

_ASKED = re.compile(r'"(?P<name>changes of (?P<table>\w+\.\w+) by (?P<columns>[^"]+))"')
_VERSION = "sql"
"""The key in a position: the hash of what the rows were computed by."""

Positions = dict[str, Position]


@dataclass(frozen=True)
class Asked:
    """A function in a model's SQL: whether the key that it is given is one of a row of `table` that changed."""

    name: str
    table: TableName
    columns: tuple[str, ...]

    @property
    def relation(self) -> str:
        """The table, as the SQL reads it."""
        return f"{quote(self.table.layer.value)}.{quote(self.table.table)}"

    @property
    def held(self) -> list[str]:
        """The columns of a relation of keys; called as no column of a model is, which would be taken for it."""
        return [quote(f"of {number}") for number, _ in enumerate(self.columns)]

    def means(self, cursor: duckdb.DuckDBPyConnection, keys: str | None, *, with_null: bool = False) -> None:
        """Let the function tell whether a key is in this relation; None: it is always true."""
        given = [f"given_{number}" for number, _ in enumerate(self.columns)]
        answer = "true"
        if keys is not None and with_null:
            pairs = zip(self.held, given, strict=True)
            alike = " and ".join(f"{held} is not distinct from {key}" for held, key in pairs)
            answer = f"exists (select 1 from {keys} where {alike})"
        elif keys is not None:
            # Ten times faster: files and row groups without such keys are not read.
            answer = f"({', '.join(given)}) in (select {', '.join(self.held)} from {keys})"
        cursor.execute(f"create or replace temp macro {quote(self.name)}({', '.join(given)}) as {answer}")


def asked_in(sql: str) -> tuple[Asked, ...]:
    """The functions in a model's SQL, each once."""
    found = {match["name"]: match for match in _ASKED.finditer(sql)}
    return tuple(
        Asked(name, TableName.parse(match["table"]), tuple(match["columns"].split(", ")))
        for name, match in found.items()
    )


def ask_for_all(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Let all rows count, until it is known which have changed."""
    for one in asked_in(sql):
        one.means(cursor, None)


@dataclass(frozen=True)
class ChangedRows:
    """The changes that one build of a table by key has to follow.

    `read`: the snapshots that `sql` reads, which the cursor's views show; `branch`: where the rows go, which is there.
    """

    lake: Lake
    cursor: duckdb.DuckDBPyConnection
    table: Table
    sql: str
    read: Mapping[TableName, int]
    branch: str

    def follow(self) -> tuple[Positions, dict[str, Position | None]]:
        """Let the SQL see only what changed; the progress that its rows make, and what has to be so until then.

        All rows count where it cannot be told: at the first build, after another SQL, and when the snapshot that was
        followed has expired or was taken back. No progress where nothing moved. Raises TransformError for columns that
        a table does not have, CatalogError.
        """
        narrowed = [self._narrow(one) for one in self._asked]
        touched = any(narrowed)
        states = {
            # Keys that other tables touch are computed with an older state than this table had been followed to.
            name: now if touched or not self._behind(name) else self._was[name]
            for name, now in self._now.items()
        }
        # A table that is not read any more would be taken for followed when an earlier SQL comes back.
        positions = {scope: self._position(NOTHING) for scope, told in self._before.items() if _VERSION in told}
        positions |= {scope_of(name): self._position(state) for name, state in states.items()}
        moved = {scope: position for scope, position in positions.items() if self._before.get(scope) != position}
        return moved, {scope: self._before.get(scope) for scope in positions}

    def _narrow(self, one: Asked) -> bool:
        """Give a function its meaning; whether there are rows to compute for it."""
        keys = self._no_keys(one)
        was, now = self._was.get(one.table, NOTHING), self._now[one.table]
        if not was.snapshot_id or not now.snapshot_id:
            one.means(self.cursor, None)
            return bool(now.snapshot_id)
        if now != was and not self._behind(one.table):
            try:
                self._fill(keys, one, was, now)
            except (QueryError, CommitError) as error:
                # Expired, taken back, or written by another program: who cannot tell takes every row.
                _log.info("all rows count as changed", table=str(one.table), reason=str(error))
                one.means(self.cursor, None)
                return True
        null = " or ".join(f"{held} is null" for held in one.held)
        [(count, nulls)] = self.cursor.execute(f"select count(*), count_if({null}) from {keys}").fetchall()
        one.means(self.cursor, keys, with_null=bool(nulls))
        return bool(count)

    def _no_keys(self, one: Asked) -> str:
        """An empty relation of keys, in the types that the SQL sees. Raises TransformError."""
        keys = quote(one.name)
        columns = ", ".join(f"{quote(name)} as {held}" for name, held in zip(one.columns, one.held, strict=True))
        try:
            self.cursor.execute(f"create or replace temp table {keys} as select {columns} from {one.relation} limit 0")
        except duckdb.Error as error:
            raise TransformError(
                f"the model {self.table.name} asks for changes of {one.table} by {', '.join(one.columns)}",
                expected="the table, with these columns",
                found=str(error).strip(),
                remedy="Mend `in_changes` in the model's SQL: columns are called there as in the table.",
            ) from None
        return keys

    def _fill(self, keys: str, one: Asked, since: Consumed, now: Consumed) -> None:
        """The keys of all rows that came or went."""
        upstream = self.lake.look(one.table)
        since = still_there(upstream, since, now.snapshot_id)
        with upstream.changes(since.snapshot_id, until=now.snapshot_id) as changes:
            for batch in changes.rows():
                columns = [_storage(batch.column(name)) for name in one.columns]
                self.cursor.register("changed_rows", pa.table(columns, names=one.columns))
                names = ", ".join(map(quote, one.columns))
                self.cursor.execute(f"insert into {keys} select distinct {names} from changed_rows")
                self.cursor.unregister("changed_rows")

    def _behind(self, name: TableName) -> bool:
        """Whether another build was faster, with a later state of a table than the one that is read here."""
        was, now = self._was.get(name), self._now[name]
        if was is None or now.sequence >= was.sequence:
            return False
        return any(snapshot.id == was.snapshot_id for snapshot in self.lake.look(name).snapshots())

    def _position(self, state: Consumed) -> Position:
        return {**position_of(state), _VERSION: self._version}

    @cached_property
    def _asked(self) -> tuple[Asked, ...]:
        return asked_in(self.sql)

    @cached_property
    def _before(self) -> Mapping[str, Position]:
        return self.lake.look(self.table.name).positions(self.branch)

    @cached_property
    def _was(self) -> Mapping[TableName, Consumed]:
        """How far each table was followed by what computes the rows now."""
        return followed({scope: told for scope, told in self._before.items() if told.get(_VERSION) == self._version})

    @cached_property
    def _now(self) -> Mapping[TableName, Consumed]:
        """The state of each table that is read or asked about."""
        relations = ", ".join(one.relation for one in self._asked)
        asked = snapshots_read(self.cursor, self.lake, f"select 1 from {relations}") if relations else {}
        found = dict.fromkeys((one.table for one in self._asked), NOTHING)
        for name, snapshot_id in {**asked, **self.read}.items():
            snapshot = self.lake.look(name).snapshot(snapshot_id)
            found[name] = Consumed.of(snapshot) if snapshot else NOTHING
        return {name: state for name, state in found.items() if name != self.table.name}

    @cached_property
    def _version(self) -> str:
        """A hash of all that the rows depend on beside data: SQL, views, and what the contract says about columns."""
        policy = self.table.merge or self.table.history
        told = {name: value for name, value in (asdict(policy) if policy else {}).items() if name != "late"}
        columns = [(column.name, column.type) for column in self.table.stored_columns]
        by = [self.sql, *_views(self.sql, self.lake.views.all()), self.table.strategy.value, told, columns]
        return hashlib.sha256(json.dumps(by, sort_keys=True).encode()).hexdigest()[:16]


def _views(sql: str, saved: Iterable[tuple[str, str, str]]) -> list[str]:
    """The SQL of the views that are read, directly or through others; those that are merely mentioned besides."""
    left = {(schema, name): text for schema, name, text in saved}
    waiting, found = [sql], list[str]()
    while waiting:
        text = waiting.pop()
        mentioned = [
            (schema, name)
            for schema, name in left
            if re.search(rf'(?<!\w)"?{re.escape(schema)}"?\s*\.\s*"?{re.escape(name)}"?(?!\w)', text)
        ]
        for key in mentioned:
            waiting.append(left.pop(key))
            found.append(waiting[-1])
    return sorted(found)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column
