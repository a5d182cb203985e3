"""A slowly changing dimension of type 2 as a merge with a computed source: changes arrive, versions come and go.

All versions of the keys that the changes are about are read, and what they shall be is computed (`versions.py`); those
that are the same stay where they are. Rounds and the commit are those of every merge, `run.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitConflict, CommitError
from lakehouse.iceberg.merge.dimension import Dimension
from lakehouse.iceberg.merge.old_rows import read_old
from lakehouse.iceberg.merge.repeats import Repeats
from lakehouse.iceberg.merge.strategy import Resolved, Round
from lakehouse.iceberg.merge.versions import COME, GONE, STORED, broken, compute
from lakehouse.iceberg.parquet.conform import conformed
from lakehouse.iceberg.reads.exact import decoded
from lakehouse.iceberg.reads.sources import duckdb_errors
from lakehouse.iceberg.schemas.evolve import RETIRED
from lakehouse.iceberg.schemas.schema import arrow_of

_BATCH_ROWS = 65_536


def retired(table: IcebergTable, given: pa.Schema) -> tuple[str, ...]:
    """The columns that the contract has not any more, and these rows neither."""
    columns: list[str] = json.loads(table.properties.get(RETIRED, "[]"))
    return tuple(column for column in columns if column not in given.names)


@dataclass(frozen=True)
class History:
    """The versions of keys follow from changes that wait in the cursor. See `Merging.history`."""

    of: Dimension
    rows: int
    branch: str
    at: datetime
    late: timedelta
    complete: bool

    def resolve(self, now: Round) -> Resolved:
        """The versions that go, and those that come.

        Raises CommitError for versions that overlap, CommitConflict when the table's columns changed meanwhile,
        CatalogError.
        """
        schema = now.table.schema()
        if schema.fields != self.of.schema.fields:
            raise CommitConflict(
                f"columns of {now.name} were changed meanwhile", remedy="Nothing was written. Run again."
            )
        stored = read_old(now, "merge_found", schema)
        with duckdb_errors(f"computing versions of {now.name}"):
            now.cursor.execute(f"CREATE OR REPLACE TEMP VIEW {STORED} AS FROM {stored}")
            if not self.complete:
                self._refuse_broken(now)
            repeats = Repeats(now.cursor, now.name, now.table, self.branch, self.of, now=self.at, late=self.late)
            compute(now.cursor, self.of, complete=self.complete)
            counts = self._counts(now)
            summary = repeats.after()
        comes = counts["inserted"] + counts["updated"]
        return Resolved(GONE, (lambda: self._come(now)) if comes else None, counts, summary, repeats)

    def _counts(self, now: Round) -> Mapping[str, int]:
        """A version is known by its key and its beginning."""
        same = ", ".join(self.of.columns([*self.of.key, self.of.valid_from]))
        [(gone, come, updated)] = now.cursor.execute(
            f"SELECT (SELECT count(*) FROM {GONE}), (SELECT count(*) FROM {COME}), (SELECT count(*) FROM {COME}"
            f" SEMI JOIN (FROM {STORED} SEMI JOIN {GONE} USING (file, position)) USING ({same}))"
        ).fetchall()
        return {
            "rows": self.rows,
            "keys": now.source.keys,
            "updated": updated,
            "inserted": come - updated,
            "deleted": gone - updated,
        }

    def _come(self, now: Round) -> Iterator[pa.RecordBatch]:
        schema = arrow_of(self.of.schema, field_ids=True)
        loose = pa.schema([field.with_nullable(nullable=True) for field in schema])
        with duckdb_errors(f"computing versions of {now.name}"):
            rows = now.cursor.execute(f"FROM {COME}").to_arrow_reader(_BATCH_ROWS)
            batches = (decoded(batch.columns, loose) for batch in rows)
            yield from conformed(pa.RecordBatchReader.from_batches(loose, batches), schema)

    def _refuse_broken(self, now: Round) -> None:
        if count := broken(now.cursor, self.of):
            raise CommitError(
                f"{count} versions in {now.name} are empty, or overlap with others of their key",
                expected="versions that follow one another, written by `history` alone",
                found=f"another writer's rows, told apart by {', '.join(self.of.key)}",
                remedy="Nothing was written. Give all changes of these keys, `complete`, or replace the rows.",
            )
