"""Data files as stock PyIceberg tells them, and copies of them that another program adds."""

from __future__ import annotations

import shutil
from datetime import date
from typing import Any

from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table as IcebergTable

from lakehouse.storage.paths import local_path


def paths(iceberg: IcebergTable, day: date | None = None) -> list[str]:
    """The live data files of main, of one day if it is given."""
    found = [task.file.file_path for task in iceberg.refresh().scan().plan_files()]
    return [path for path in found if day is None or f"={day}" in path]


def copy_of(old: DataFile, path: str, **more: Any) -> DataFile:  # noqa: ANN401  (what a manifest may say of a file)
    """A copy of a data file at this path; of its columns it says only what is given."""
    shutil.copy(local_path(old.file_path), local_path(path))
    copy = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=path,
        file_format=FileFormat.PARQUET,
        partition=old.partition,
        record_count=old.record_count,
        file_size_in_bytes=old.file_size_in_bytes,
        **more,
    )
    copy.spec_id = old.spec_id
    return copy
