"""Writing the rows of a group anew: by DuckDB where its files are as good as ours, else by our own writer.

Which is which is `Encoders.by_duckdb`. Whether the new files hold the same rows is `fingerprint.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import duckdb
import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table as IcebergTable
from pyiceberg.types import FixedType

from lakehouse.iceberg.compaction.groups import Group
from lakehouse.iceberg.parquet.data_file import COMPRESSION_LEVEL, FileMaker
from lakehouse.iceberg.parquet.partition import Partition
from lakehouse.iceberg.parquet.sort import RowOrder
from lakehouse.iceberg.parquet.writer import write_files
from lakehouse.iceberg.reads.scan import State, read_files
from lakehouse.iceberg.reads.sources import Sources, columns_as, may_be_named, not_text, spelled
from lakehouse.iceberg.schemas.schema import arrow_of
from lakehouse.storage.paths import is_s3, local_path
from lakehouse.tables import TableName
from lakehouse.tables.sql import literal

PARQUET = (
    f"FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {COMPRESSION_LEVEL},"
    f" ROW_GROUP_SIZE {2**20}, ROW_GROUP_SIZE_BYTES {48 * 2**20}"
)
"""Row groups of 48 MiB in memory, as our own writer's; each thread of DuckDB holds one, and as much again."""


class Encoders:
    """The two ways to write rows of one table anew."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, name: TableName, table: IcebergTable, sources: Sources
    ) -> None:
        self._connection = connection
        self._name = name
        self._table = table
        self._sources = sources
        schema = table.schema()
        names = [field.name for field in schema.fields]
        self._plain = (
            sources.flat
            and RowOrder.of(table.sort_order(), schema) is None
            # DuckDB writes bounds of every column into the footer, which would show what the metadata must not.
            and FileMaker(table, None).shows_all
            # It has no binary of a fixed length,
            and not any(isinstance(field.field_type, FixedType) for field in schema.fields)
            # and no two names that differ in case only.
            and len({name.lower() for name in names}) == len(names)
            and may_be_named(table.location_provider().new_data_location("of.parquet"))
        )

    def by_duckdb(self, group: Group, *, readable: bool, negative_zeros: int) -> bool:
        """Whether DuckDB writes a group.

        Not -0.0: in a dictionary it becomes what came first of 0.0 and it. And not what belongs to another partition.
        """
        spec_id = self._table.spec().spec_id
        return (
            self._plain
            and readable
            and negative_zeros == 0
            and all(of.file.spec_id == spec_id for of in group.touched)
            and all(of.file.partition == group.touched[0].file.partition for of in group.touched)
        )

    def copy(self, group: Group, hidden: Mapping[str, pa.Array]) -> tuple[DataFile, ...]:
        """Let DuckDB write the group as one file. What fails leaves no file. Raises CatalogError, StateError."""
        files = FileMaker(self._table, None)
        spec, schema = self._table.spec(), self._table.schema()
        values = group.touched[0].file.partition
        partition = Partition(values, spec.partition_to_path(values, schema) if spec.fields else "")
        location = files.place(partition)
        names = [field.name for field in schema.fields]
        ids = ", ".join(f"{literal(field.name)}: {field.field_id}" for field in schema.fields)
        try:
            if not is_s3(location):
                local_path(location).parent.mkdir(parents=True, exist_ok=True)
            with self._sources.rows(group.tasks, hidden, by_duckdb=True) as rows:
                self._connection.execute(
                    f"COPY (SELECT {columns_as(names)} FROM {rows}) TO {literal(spelled(location))}"
                    f" ({PARQUET}, FIELD_IDS {{{ids}}})"
                )
            return (files.adopt(location, partition),)
        except BaseException:
            files.remove()
            raise

    def write(self, group: Group) -> tuple[DataFile, ...]:
        """Write the group by our own reader and writer: sorted, partitioned, as the table wants it now.

        Raises CatalogError, StateError, SchemaMismatch for text that is not UTF-8.
        """
        schema = self._table.schema()
        return self.write_rows(group, read_files(State(self._name, self._table, None, schema), group.tasks, schema))

    def write_rows(self, group: Group, batches: Iterable[pa.RecordBatch]) -> tuple[DataFile, ...]:
        """Write such rows of the group as are given, by our own writer. Raises as `write` and the batches do."""
        arrow = arrow_of(self._table.schema(), field_ids=True)
        try:
            return write_files(self._table, (batch.cast(arrow) for batch in batches))
        except UnicodeDecodeError:
            # PyArrow reads and writes such a text as it is, but a manifest can have no bounds of it.
            raise not_text(group.touched[0].path) from None
