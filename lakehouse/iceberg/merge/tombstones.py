"""Tombstones: which keys a branch remembers as deleted, so that a late older row does not bring one of them back.

Of one round of a merge with a `sequence`: what was remembered comes into a temporary table beside `merge_keys`, and
what has to be remembered afterwards is written to a new file. The file is `tombstone_file.py`; that its name goes
from snapshot to snapshot, `commits/sidecar.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError
from lakehouse.iceberg.commits.sidecar import NONE, TOMBSTONES, Sidecar
from lakehouse.iceberg.merge import tombstone_file as file
from lakehouse.iceberg.merge.remembered import Remembered
from lakehouse.iceberg.merge.rules import Rules
from lakehouse.tables import TableName
from lakehouse.tables.types import duckdb_type

LATE = timedelta(days=30)
"""How long after its deletion a late older row of a key is known as such, by default."""
MERGE_TOMBSTONES = "merge_tombstones"
"""The temporary table of what counts: `k0`, `k1`, ... in the order of the key, `sequence`, `written_at`."""
_ARRIVED = "merge_tombstones_arrived"
_SETTLED = "merge_tombstones_settled"
_AT_ONCE = 2**17
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tombstones(Remembered):
    """The deleted keys of a branch as of a head, for rows that wait in `merge_keys` of the same cursor.

    `now` is the aware time of the merge; a key that was deleted `late` before it or earlier does not count any more,
    and with `late` zero none is remembered. Raises CommitError for a negative `late` and for keys that were remembered
    by another key or sequence, CatalogError when they cannot be read, Overtaken when they were replaced since `table`
    was loaded.
    """

    def __init__(  # noqa: PLR0913  (whose keys, and what counts)
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: TableName,
        table: IcebergTable,
        branch: str,
        rules: Rules,
        *,
        now: datetime,
        late: timedelta = LATE,
    ) -> None:
        if late < timedelta(0):
            raise CommitError(
                f"{name} cannot be merged with a late horizon of {late}",
                expected="zero or more",
                remedy="Nothing was written. Mend the argument.",
            )
        super().__init__(table, branch)
        self._cursor, self._name = cursor, name
        self._rules, self._now, self._late = rules, now.astimezone(UTC), late
        self._fields = [table.schema().find_field(column) for column in (*rules.key, rules.sequence or "")]
        self._keys = [f"k{number}" for number in range(len(rules.key))]
        self._load()

    def outdated(self) -> str:
        """A query of the `row` in `merge_keys` of each row that is older than what deleted its key."""
        return (
            f"SELECT merge_keys.row FROM merge_keys JOIN {MERGE_TOMBSTONES} AS t USING ({self._listed()})"
            " WHERE merge_keys.sequence < t.sequence"
        )

    def after(self, lost: str) -> dict[str, str]:
        """The entry for the summary of a snapshot that takes in the rows of `merge_keys`; empty when nothing changes.

        `lost` is a relation of the `row` of each that is outdated, against a tombstone or a row of the table's own. A
        file that is written is nobody's until the commit: `remove` it when there is none. Raises CatalogError,
        StateError.
        """
        if not self._late:
            return {} if self._sidecar is None else {TOMBSTONES: NONE}
        if not self._changed(lost):
            return {}
        self.remove()
        sidecar = file.write(
            self._table,
            self._name,
            {column: field.field_id for column, field in zip(self._keys, self._fields, strict=False)},
            self._fields[-1].field_id,
            self._cursor.execute(self._remembered(), {"now": self._now}).to_arrow_reader(_AT_ONCE),
        )
        if sidecar is None:
            return {TOMBSTONES: NONE}
        self._written = sidecar.path
        return {TOMBSTONES: sidecar.encoded()}

    def _load(self) -> None:
        """Fill the temporary table with what still counts."""
        columns = [*self._keys, file.SEQUENCE]
        kinds = [duckdb_type(str(field.field_type)) for field in self._fields]
        typed = ", ".join(f"{column} {kind}" for column, kind in zip(columns, kinds, strict=True))
        made = f"CREATE OR REPLACE TEMP TABLE {MERGE_TOMBSTONES} ({typed}, {file.WRITTEN_AT} TIMESTAMP WITH TIME ZONE)"
        self._cursor.execute(made)
        if not self._late or self._sidecar is None or self._now - self._sidecar.newest >= self._late:
            return
        self._refuse_other(self._sidecar)
        stored = [*(file.key_column(field.field_id) for field in self._fields[:-1]), file.SEQUENCE]
        cast = ", ".join(f"CAST({column} AS {kind})" for column, kind in zip(stored, kinds, strict=True))
        horizon = self._now - self._late if self._late < self._now - _EPOCH else _EPOCH
        for batch in file.read(self._table, self._name, self._branch, self._sidecar):
            self._insert(
                f"SELECT {cast}, {file.WRITTEN_AT} FROM {_ARRIVED} WHERE {file.WRITTEN_AT} > $horizon", batch, horizon
            )

    def _insert(self, rows: str, batch: pa.RecordBatch, horizon: datetime) -> None:
        self._cursor.register(_ARRIVED, batch)
        try:
            self._cursor.execute(f"INSERT INTO {MERGE_TOMBSTONES} {rows}", {"horizon": horizon})
        finally:
            self._cursor.unregister(_ARRIVED)

    def _changed(self, lost: str) -> bool:
        """Put the rows that delete a key anew, or bring one back, into `_SETTLED`; whether a file is due.

        One is due for these, and once half of what is in the old one does not count any more.
        """
        deletes = "coalesce(m.deleted, false)" if self._rules.deleted is not None else "false"
        keys = ", ".join(f"m.{column}" for column in self._keys)
        same = " AND ".join(f"m.{column} = t.{column}" for column in self._keys)
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP TABLE {_SETTLED} AS FROM ("
            f"SELECT m.row, {keys}, m.sequence, {deletes} AS deleted"
            f" FROM merge_keys AS m LEFT JOIN {MERGE_TOMBSTONES} AS t ON {same}"
            f" WHERE CASE WHEN {deletes} THEN t.sequence IS NULL OR m.sequence > t.sequence"
            f" ELSE t.sequence IS NOT NULL END) ANTI JOIN {lost} AS lost USING (row)"
        )
        counted = f"SELECT (SELECT count(*) FROM {_SETTLED}), (SELECT count(*) FROM {MERGE_TOMBSTONES})"
        settled, remembered = self._cursor.execute(counted).fetchall()[0]
        return bool(settled) or (self._sidecar is not None and 2 * remembered < self._sidecar.rows)

    def _remembered(self) -> str:
        """A query of all that has to be remembered from now on; `$now` is the time of the merge."""
        keys = self._listed()
        return (
            f"SELECT {keys}, sequence, {file.WRITTEN_AT} FROM {MERGE_TOMBSTONES} ANTI JOIN {_SETTLED} USING ({keys})"
            f" UNION ALL SELECT {keys}, sequence, CAST($now AS TIMESTAMP WITH TIME ZONE) FROM {_SETTLED} WHERE deleted"
        )

    def _listed(self) -> str:
        return ", ".join(self._keys)

    def _refuse_other(self, sidecar: Sidecar) -> None:
        """Raise CommitError for keys that were remembered by other columns: the rows cannot be compared with them."""
        key, sequence = {field.field_id for field in self._fields[:-1]}, self._fields[-1].field_id
        if set(sidecar.key) == key and sidecar.sequence == sequence:
            return
        schema = self._table.schema()

        def named(ids: Sequence[int]) -> str:
            return ", ".join(schema.find_column_name(number) or f"a dropped column ({number})" for number in ids)

        raise CommitError(
            f"{self._name} remembers deleted keys by other columns than it is merged by",
            expected=f"the key {named(sidecar.key)} and the sequence {named([sidecar.sequence])}",
            found=f"the key {', '.join(self._rules.key)} and the sequence {self._rules.sequence}",
            remedy="Merge by these, or merge once with `late=timedelta(0)`: the table forgets the keys that were"
            " deleted before, and late older rows may bring them back.",
        )
