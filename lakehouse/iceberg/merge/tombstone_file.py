"""The Parquet file of a branch's deleted keys in the table's metadata folder: read, written, and missed.

A row is a deleted key: a column `key_<field id>` for each column of the key, the `sequence` of the change that deleted
it, and `written_at` (UTC). Which snapshot names which file is `commits/sidecar.py`, what follows from the rows
`tombstones.py`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CatalogError
from lakehouse.iceberg.commits.intent import Overtaken
from lakehouse.iceberg.commits.progress import head_of
from lakehouse.iceberg.commits.sidecar import Sidecar, sidecar_at
from lakehouse.iceberg.failures import catalog_errors
from lakehouse.iceberg.parquet.data_file import verify
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)

SEQUENCE = "sequence"
WRITTEN_AT = "written_at"
_FIELD_ID = b"PARQUET:field_id"
_AT_ONCE = 2**19


def key_column(field_id: int) -> str:
    """What the file calls a column of the key: by field id, for names may change."""
    return f"key_{field_id}"


def read(table: IcebergTable, name: TableName, branch: str, sidecar: Sidecar) -> Iterator[pa.RecordBatch]:
    """The rows of the file that a branch names, as `table` was loaded.

    Raises CatalogError when it is not there or is damaged, Overtaken when the branch names another by now.
    """
    try:
        with (
            catalog_errors(f"reading the deleted keys of {name}"),
            table.io.new_input(sidecar.path).open() as stream,
        ):
            if (size := stream.seek(0, os.SEEK_END)) != sidecar.bytes:
                raise _lost(name, sidecar, f"{size} bytes of {sidecar.bytes}")
            stream.seek(0)
            with pq.ParquetFile(stream) as file:
                yield from file.iter_batches(_AT_ONCE)
    except pa.ArrowInvalid as error:
        raise _lost(name, sidecar, f"other bytes: {error}") from error
    except CatalogError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        # An expiry may have removed it with the last snapshot that named it, since the table was loaded.
        table.refresh()
        now = Sidecar.of(sidecar_at(table.metadata, head_of(table.metadata, branch)))
        if now is None or now.path != sidecar.path:
            raise Overtaken("another writer deleted keys, or brought some back,") from error
        raise _lost(name, sidecar, "no such file") from error


def write(
    table: IcebergTable, name: TableName, key: Mapping[str, int], sequence: int, batches: Iterable[pa.RecordBatch]
) -> Sidecar | None:
    """A new file of these rows, read back from the storage; None where there are none.

    `key` are the field ids of the columns of the key, by their names in the batches. Nothing of it is left when it
    fails. Raises CatalogError, StateError.
    """
    rows = (batch for batch in batches if batch.num_rows)
    first = next(iter(rows), None)
    if first is None:
        return None
    location = table.location_provider().new_metadata_location(f"tombstones-{uuid.uuid4()}.parquet")
    ids = {**key, SEQUENCE: sequence}
    schema = pa.schema(
        [
            field.with_metadata({_FIELD_ID: str(ids[field.name])} if field.name in ids else None).with_name(
                key_column(key[field.name]) if field.name in key else field.name
            )
            for field in first.schema
        ]
    )
    newest = first.column(WRITTEN_AT)[0].as_py()
    try:
        with catalog_errors(f"writing the deleted keys of {name}"):
            stream = table.io.new_output(location).create(overwrite=True)
            with stream, pq.ParquetWriter(stream, schema, compression="zstd", store_schema=False) as parquet:
                for batch in (first, *rows):
                    parquet.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
                    newest = max(newest, pc.max(batch.column(WRITTEN_AT)).as_py())
                data_bytes = int(stream.tell())
                parquet.close()
                size = int(stream.tell())
            footer = parquet.writer.metadata
            verify(table.io, location, footer, size=size, tail=size - data_bytes)
    except BaseException:
        remove(table, location)
        raise
    return Sidecar(location, footer.num_rows, size, size - data_bytes, tuple(sorted(key.values())), sequence, newest)


def remove(table: IcebergTable, location: str) -> None:
    """Remove a file that no snapshot names."""
    try:
        table.io.delete(location)
    except FileNotFoundError:
        _log.debug("file was not there yet", location=location)
    except OSError as error:
        _log.warning("file left behind", location=location, reason=str(error))


def _lost(name: TableName, sidecar: Sidecar, found: str) -> CatalogError:
    return CatalogError(
        f"the file of the deleted keys of {name} is not what was written: {sidecar.path}",
        expected=f"{sidecar.rows} deleted keys, which late older rows must not bring back",
        found=found,
        remedy="Bring the file back from a backup. Or merge once with `late=timedelta(0)`: the table forgets the keys"
        " that were deleted before, and late older rows may bring them back.",
    )
