"""Delete files as another program writes them: Spark's merge-on-read, or Flink's deletes by value.

That they are honoured is tested elsewhere.
"""

from __future__ import annotations

import uuid

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
)
from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.delete_file_index import PATH_FIELD_ID
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.update.snapshot import _FastAppendFiles
from pyiceberg.typedef import EMPTY_DICT, Record

from lakehouse.iceberg.commits.delete_manifests import DeleteManifestWriter


class _AddDeletes(_FastAppendFiles):
    """A foreign writer that hides rows, as Spark's merge-on-read does."""

    file: DataFile

    def _manifests(self) -> list[ManifestFile]:
        spec = self.spec(self.file.spec_id)
        output = self.new_manifest_output()
        with DeleteManifestWriter(spec, self.schema(), output, self._snapshot_id, self._compression) as writer:
            entry = ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self._snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=self.file,
            )
            writer.add_entry(entry)
        return [writer.to_manifest_file(), *super()._manifests()]

    def _summary(self, snapshot_properties: dict[str, str] = EMPTY_DICT) -> Summary:
        self._added_data_files = [self._counted()]
        try:
            return super()._summary(snapshot_properties)
        finally:
            self._added_data_files = []

    def _counted(self) -> DataFile:
        """PyIceberg takes each new file for one of the table's partitions of now."""
        if self.file.spec_id == self._transaction.table_metadata.default_spec_id:
            return self.file
        return DataFile.from_args(
            content=self.file.content,
            partition=Record(),
            record_count=self.file.record_count,
            file_size_in_bytes=self.file.file_size_in_bytes,
        )


def hide(
    table: IcebergTable, position: int, *, of: str | None = None, by_value: bool = False, anybody: bool = False
) -> None:
    """Another program deletes one row of the only data file, or of the file `of`.

    `by_value` deletes the rows that have a value, which may be in none of them. `anybody`: the delete file does not
    tell which file it is about.
    """
    task = next(task for task in table.scan().plan_files() if of in {None, task.file.file_path})
    path = f"{table.location()}/data/{uuid.uuid4()}-deletes.parquet"
    if by_value:
        content = pa.table({"order_id": pa.array([position], pa.int64())})
        schema = pa.schema([pa.field("order_id", pa.int64(), metadata={"PARQUET:field_id": "1"})])
    else:
        content = pa.table({"file_path": [task.file.file_path], "pos": pa.array([position], pa.int64())})
        ids = {"file_path": "2147483546", "pos": "2147483545"}
        schema = pa.schema([field.with_metadata({"PARQUET:field_id": ids[field.name]}) for field in content.schema])
    with table.io.new_output(path).create() as stream:
        pq.write_table(content.cast(schema), stream)
    bound = {} if by_value or anybody else {PATH_FIELD_ID: task.file.file_path.encode()}
    file = DataFile.from_args(
        content=DataFileContent.EQUALITY_DELETES if by_value else DataFileContent.POSITION_DELETES,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=task.file.partition,
        record_count=1,
        file_size_in_bytes=len(table.io.new_input(path)),
        lower_bounds=bound,
        upper_bounds=bound,
        equality_ids=[1] if by_value else None,
    )
    file.spec_id = task.file.spec_id
    transaction = table.transaction()
    producer = _AddDeletes(operation=Operation.OVERWRITE, transaction=transaction, io=table.io)
    producer.file = file
    producer.commit()
    transaction.commit_transaction()
