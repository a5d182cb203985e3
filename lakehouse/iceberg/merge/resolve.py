"""Which arriving rows win, and which found rows go: by SQL over what arrived and what was found.

Rows of one key that arrived together are told apart by `source.py`; how a round goes on is `run.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
from pyiceberg.schema import Schema

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.merge.old_rows import read_old
from lakehouse.iceberg.merge.strategy import Resolved, Round
from lakehouse.iceberg.merge.tombstones import Tombstones
from lakehouse.iceberg.parquet.conform import conformed
from lakehouse.iceberg.reads.exact import decoded, position
from lakehouse.iceberg.reads.sources import duckdb_errors
from lakehouse.iceberg.schemas.schema import arrow_of

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Upsert:
    """The newest row of a key replaces the found ones, deletes them, or is new; an older one changes nothing.

    With a sequence that is also asked of keys which are remembered as deleted on `branch`, `late` before `at` at most.
    """

    branch: str
    at: datetime
    late: timedelta

    def resolve(self, now: Round) -> Resolved:
        """The rows that arrived against those that were found. Raises SchemaMismatch, CatalogError, CommitError."""
        tombstones = None
        with duckdb_errors(f"merging into {now.name}"):
            if now.rules.sequence is not None:
                tombstones = Tombstones(
                    now.cursor, now.name, now.table, self.branch, now.rules, now=self.at, late=self.late
                )
            counts = _compare(now, tombstones)
        if counts["inserted"]:
            _refuse_new(now)
        with duckdb_errors(f"remembering keys that were deleted from {now.name}"):
            summary = tombstones.after("merge_lost") if tombstones else {}
        comes = counts["inserted"] + counts["updated"]
        # Whole rows go as they came; others are completed from the rows that they replace.
        rows = _completed if counts["updated"] and now.rules.lacking(now.table.schema()) else _given
        return Resolved(
            f"(SELECT file, position FROM merge_found{_less(counts['outdated'])})",
            (lambda: rows(now)) if comes else None,
            {"rows": now.source.rows, "keys": now.source.keys, **counts},
            summary,
            tombstones,
        )


def _compare(now: Round, tombstones: Tombstones | None) -> dict[str, int]:
    """Make `merge_lost`, the rows that are older than a found one or a deletion, and `merge_wins`, those that enter.

    Where a row keeps values of the row that it replaces, that one is named beside it: of several, the newest.
    """
    outdated = 0
    if tombstones is not None:
        # A found row without a sequence is older than any.
        now.cursor.execute(
            "CREATE OR REPLACE TEMP TABLE merge_lost AS SELECT row FROM merge_found JOIN merge_keys USING (row)"
            f" WHERE merge_found.sequence > merge_keys.sequence UNION {tombstones.outdated()}"
        )
        [(outdated,)] = now.cursor.execute("SELECT count(*) FROM merge_lost").fetchall()
    less = _less(outdated)
    stays = " WHERE NOT coalesce(deleted, false)" if now.rules.deleted is not None else ""
    if now.rules.lacking(now.table.schema()):
        wins = f"SELECT row, old.file, old.position FROM merge_keys LEFT JOIN ({_newest(now)}) AS old USING (row)"
    else:
        wins = "SELECT row FROM merge_keys"
    now.cursor.execute(f"CREATE OR REPLACE TEMP TABLE merge_wins AS {wins}{less}{stays}")
    won, found = (now.source.named(f"SELECT row FROM {of}") for of in ("merge_wins", f"merge_found{less}"))
    updated = int((won & found).sum())
    return {
        "updated": updated,
        "inserted": int(won.sum()) - updated,
        "deleted": int(found.sum()) - updated,
        "outdated": outdated,
    }


def _less(outdated: int) -> str:
    """What leaves outdated rows out. Mostly there are none, and a join is saved."""
    return " ANTI JOIN merge_lost USING (row)" if outdated else ""


def _newest(now: Round) -> str:
    """One found row for each row that arrived."""
    newest = "sequence DESC NULLS LAST, " if now.rules.sequence is not None else ""
    return (
        f"SELECT DISTINCT ON (row) row, file, position FROM merge_found ORDER BY row, {newest}file DESC, position DESC"
    )


def _refuse_new(now: Round) -> None:
    """Raise SchemaMismatch for new rows that lack a column which the table requires."""
    required = [field.name for field in now.rules.lacking(now.table.schema()) if field.required]
    if not required:
        return
    keys = ", ".join(f"k{number}" for number in range(len(now.rules.key)))
    with duckdb_errors(f"merging into {now.name}"):
        found = now.cursor.execute(
            f"SELECT {keys} FROM merge_keys SEMI JOIN (FROM merge_wins WHERE file IS NULL) USING (row)"
            " ORDER BY row LIMIT 1"
        ).fetchall()
    raise SchemaMismatch(
        f"{now.name} requires {', '.join(required)}, which the rows do not bring, and a key of theirs is new",
        expected="whole rows for new keys",
        found=", ".join(f"{name}={value}" for name, value in zip(now.rules.key, found[0], strict=True)),
        remedy="Bring these columns too, or leave rows with new keys out.",
    )


def as_they_came(now: Round, keep: str | None = None) -> Iterator[pa.RecordBatch]:
    """The rows that a query (`SELECT row FROM ...`) names, or all of them, in order of arrival.

    NULL is in the columns that they lack. Raises SchemaMismatch for NULL in a required column.
    """
    schema = now.table.schema()
    batches = now.source.batches(keep)
    payload = pa.RecordBatchReader.from_batches(_payload(now), batches)
    yield from conformed(
        payload,
        arrow_of(schema, field_ids=True),
        may_lack=[field.name for field in now.rules.lacking(schema)],
    )


def _given(now: Round) -> Iterator[pa.RecordBatch]:
    """The rows that win."""
    return as_they_came(now, "SELECT row FROM merge_wins")


def _completed(now: Round) -> Iterator[pa.RecordBatch]:
    """The rows that win, with values of the rows that they replace in the columns that did not come."""
    schema = now.table.schema()
    lacking = now.rules.lacking(schema)
    old = read_old(now, "(SELECT file, position FROM merge_wins WHERE file IS NOT NULL)", Schema(*lacking))
    came = {name: f"came.{position(number)}" for number, name in enumerate(now.rules.columns)}
    kept = {field.name: f"kept.{position(number)}" for number, field in enumerate(lacking)}
    arrow = arrow_of(schema, field_ids=True)
    columns = ", ".join((came | kept)[field.name] for field in schema.fields)
    with duckdb_errors(f"merging into {now.name}"):
        rows = now.cursor.execute(
            f"SELECT {columns} FROM merge_wins JOIN {now.source.relation()} AS came USING (row)"
            f" LEFT JOIN {old} AS kept USING (file, position) ORDER BY row"
        ).to_arrow_reader(_BATCH_ROWS)
        loose = pa.schema([field.with_nullable(nullable=True) for field in arrow])
        complete = pa.RecordBatchReader.from_batches(loose, (decoded(batch.columns, loose) for batch in rows))
        yield from conformed(complete, arrow)


def _payload(now: Round) -> pa.Schema:
    """What arrived, without the marker."""
    arriving = now.rules.arriving(now.table.schema())
    return pa.schema([arriving.field(column) for column in now.rules.columns])
