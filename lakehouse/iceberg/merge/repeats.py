"""Repeats: moments at which a key was told to be what it was already, remembered for changes that come late.

A version does not tell of them, and yet they matter: of A at 1, A at 5 and then B at 3, A holds again from 5 on; and a
key that was deleted before it was known does not come back by an older change. They wait where the deleted keys of
other merges do (`tombstone_file.py`), with the moment as a part of the key. What follows from them is `versions.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError
from lakehouse.iceberg.commits.sidecar import NONE, TOMBSTONES, Sidecar
from lakehouse.iceberg.merge import tombstone_file as file
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.remembered import Remembered
from lakehouse.iceberg.merge.versions import CHANGES, REPEATED, REPEATS
from lakehouse.iceberg.reads.exact import decoded, encoded
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.tables import TableName

_ALL = "history_repeats_of_all"
_ARRIVED = "lakehouse_repeats"
_WRITTEN_AT = pa.field(file.WRITTEN_AT, pa.timestamp("us", "UTC"))
_AT_ONCE = 2**17
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Repeats(Remembered):
    """The repeats of a branch as of a head, for changes that wait in the same cursor: the view `history_repeats`.

    Those that were written `late` before `now` or earlier do not count any more, and with `late` zero none is
    remembered. Raises CommitError when the file holds keys of another kind, CatalogError when it cannot be read,
    Overtaken when it was replaced since `table` was loaded.
    """

    def __init__(  # noqa: PLR0913  (whose moments, and what counts)
        self,
        cursor: duckdb.DuckDBPyConnection,
        name: TableName,
        table: IcebergTable,
        branch: str,
        of: Dimension,
        *,
        now: datetime,
        late: timedelta,
    ) -> None:
        if late < timedelta(0):
            raise CommitError(
                f"{name} cannot have a history with a late horizon of {late}",
                expected="zero or more",
                remedy="Nothing was written. Mend the argument.",
            )
        super().__init__(table, branch)
        self._cursor, self._name, self._of = cursor, name, of
        self._now, self._late = now.astimezone(UTC), late
        self._ids = {of.column(name): of.schema.find_field(name).field_id for name in (*of.key, of.valid_from)}
        arrow = arrow_of(of.schema, field_ids=False)
        fields = [arrow.field(name).with_name(of.column(name)) for name in (*of.key, of.valid_from)]
        self._schema = pa.schema([*fields, _WRITTEN_AT])
        self._load()

    def after(self) -> dict[str, str]:
        """The entry for the summary of a snapshot that takes the changes in; empty when nothing changes.

        To be asked when versions are computed. A file that is written is nobody's until the commit: `remove` it when
        there is none. Raises CatalogError, StateError.
        """
        if not self._late:
            return {} if self._sidecar is None else {TOMBSTONES: NONE}
        if not self._changed():
            return {}
        self.remove()
        sidecar = file.write(
            self._table, self._name, self._ids, self._ids[self._of.column(self._of.valid_from)], self._remembered()
        )
        if sidecar is None:
            return {TOMBSTONES: NONE}
        self._written = sidecar.path
        return {TOMBSTONES: sidecar.encoded()}

    def _load(self) -> None:
        """Fill the tables of what still counts: of all keys, and of those that changes are about."""
        self._take(pa.RecordBatch.from_pylist([], schema=self._schema), f"CREATE OR REPLACE TEMP TABLE {_ALL} AS")
        sidecar = self._sidecar
        if self._late and sidecar is not None and self._now - sidecar.newest < self._late:
            self._refuse_other(sidecar)
            horizon = self._now - min(self._late, self._now - _EPOCH)
            stored = [*(file.key_column(field_id) for field_id in self._ids.values()), file.WRITTEN_AT]
            for batch in file.read(self._table, self._name, self._branch, sidecar):
                columns = [
                    _as(batch.column(name), field.type) for name, field in zip(stored, self._schema, strict=True)
                ]
                young = pc.greater(columns[-1], pa.scalar(horizon, _WRITTEN_AT.type))
                told = pa.RecordBatch.from_arrays(columns, names=self._schema.names)
                self._take(told.filter(young), f"INSERT INTO {_ALL}")
        self._cursor.execute(
            f"CREATE OR REPLACE TEMP VIEW {REPEATS} AS FROM {_ALL} SEMI JOIN {CHANGES} USING ({self._keys()})"
        )

    def _take(self, batch: pa.RecordBatch, statement: str) -> None:
        told, written_at = encoded(batch.select(list(self._ids))), batch.column(file.WRITTEN_AT)
        names = [*self._of.columns(self._of.key), "since", file.WRITTEN_AT]
        self._cursor.register(_ARRIVED, pa.Table.from_arrays([*told.columns, written_at], names=names))
        try:
            self._cursor.execute(f"{statement} FROM {_ARRIVED}")
        finally:
            self._cursor.unregister(_ARRIVED)

    def _changed(self) -> bool:
        """Whether there are others than before, or half of what is in the old file does not count any more."""
        moments = f"USING ({self._keys()}, since)"
        [(come, gone, left)] = self._cursor.execute(
            f"SELECT (SELECT count(*) FROM {REPEATED} ANTI JOIN {REPEATS} {moments}),"
            f" (SELECT count(*) FROM {REPEATS} ANTI JOIN {REPEATED} {moments}), (SELECT count(*) FROM {_ALL})"
        ).fetchall()
        return bool(come or gone) or (self._sidecar is not None and 2 * left < self._sidecar.rows)

    def _remembered(self) -> Iterator[pa.RecordBatch]:
        """All that has to be remembered from now on; a moment that was remembered before, no longer for being told."""
        keys, moments = self._keys(), f"USING ({self._keys()}, since)"
        rows = self._cursor.execute(
            f"SELECT {keys}, since, {file.WRITTEN_AT} FROM {_ALL} ANTI JOIN {CHANGES} USING ({keys}) UNION ALL"
            f" SELECT {keys}, since, coalesce({file.WRITTEN_AT}, $now) FROM {REPEATED} LEFT JOIN {_ALL} {moments}",
            {"now": self._now},
        ).to_arrow_reader(_AT_ONCE)
        schema = pa.schema(list(self._schema)[:-1])
        names = [*self._ids, file.SEQUENCE, file.WRITTEN_AT]
        for batch in rows:
            told = decoded(batch.columns[:-1], schema).columns
            written_at = batch.columns[-1].cast(_WRITTEN_AT.type)
            yield pa.RecordBatch.from_arrays([*told, told[-1], written_at], names=names)

    def _keys(self) -> str:
        return ", ".join(self._of.columns(self._of.key))

    def _refuse_other(self, sidecar: Sidecar) -> None:
        if set(sidecar.key) == set(self._ids.values()):
            return
        raise CommitError(
            f"{self._name} remembers keys of other columns than its history has",
            expected=f"the key {', '.join(self._of.key)} and {self._of.valid_from}",
            found=", ".join(
                self._of.schema.find_column_name(number) or f"a dropped column ({number})" for number in sidecar.key
            ),
            remedy="Write it by `history` with this key, or once with `late=timedelta(0)`: then the table forgets what"
            " it remembers of keys, and late changes may be placed by its versions alone.",
        )


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """In the type of now, which may be wider. UUIDs are compared by their bytes, whatever Parquet calls them."""
    return column if isinstance(kind, pa.BaseExtensionType) else column.cast(kind)
