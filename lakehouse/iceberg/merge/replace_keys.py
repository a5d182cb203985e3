"""Rows in the place of all rows of their keys, be they one or many: delete and insert, as one snapshot.

Rows are not compared: it would take all columns of the rows that go, of which only the keys are read. One row for each
key is `resolve.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyiceberg.types import NestedField

from lakehouse.errors import SchemaMismatch
from lakehouse.iceberg.merge.found import MERGE_FOUND
from lakehouse.iceberg.merge.resolve import as_they_came
from lakehouse.iceberg.merge.strategy import Resolved, Round
from lakehouse.iceberg.reads.sources import duckdb_errors
from lakehouse.tables import TableName


class ReplaceKeys:
    """Every row that arrived enters, and every row that was found goes. See `Merging.replace_keys`."""

    def resolve(self, now: Round) -> Resolved:
        """All of both. Raises CatalogError."""
        with duckdb_errors(f"replacing keys of {now.name}"):
            [(updated,)] = now.cursor.execute(f"SELECT count(DISTINCT row) FROM {MERGE_FOUND}").fetchall()
        keys = now.source.keys
        return Resolved(
            MERGE_FOUND,
            (lambda: as_they_came(now)) if keys else None,
            {"rows": now.source.rows, "keys": keys, "updated": updated, "inserted": keys - updated},
        )


def refuse_partial(name: TableName, lacking: Iterable[NestedField], retired: Collection[str]) -> None:
    """Raise SchemaMismatch for rows that are not whole: nothing of the rows that they replace would be kept."""
    missing = [field.name for field in lacking if field.name not in retired]
    if missing:
        raise SchemaMismatch(
            f"rows that replace those of {name} do not bring all of its columns",
            expected="whole rows",
            found=f"missing {', '.join(missing)}",
            remedy="Bring these columns too, or merge the rows: there the others keep their values.",
        )
