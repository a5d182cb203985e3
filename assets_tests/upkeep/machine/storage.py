"""What lies in storage, and what a table's newest metadata names: told without any code of upkeep's own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.table import Table as IcebergTable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TOMBSTONES = "lakehouse.tombstones"
Seen = dict[str, int]
"""The time of its last change in nanoseconds, by path."""


def plain(path: str) -> str:
    return path.removeprefix("file://")


class Files:
    """Everything below a table's location, in a folder or a bucket."""

    def __init__(self, location: str, client: S3Client | None = None) -> None:
        self._location = plain(location)
        self._client = client
        self._known: set[str] = set()

    @property
    def ages(self) -> bool:
        """Whether files can be told when they were written."""
        return self._client is None

    def listed(self) -> Seen:
        return dict(self._listed())

    def settle(self, now: datetime) -> None:
        """What has come since was written now, by the clock of the machine."""
        for path, _ in self._listed() if self.ages else ():
            if path not in self._known:
                self._known.add(path)
                os.utime(path, (now.timestamp(), now.timestamp()))

    def _listed(self) -> Iterator[tuple[str, int]]:
        if self._client is None:
            for path in Path(self._location).rglob("*"):
                if path.is_file():
                    yield str(path), path.stat().st_mtime_ns
            return
        bucket, _, prefix = self._location.removeprefix("s3://").partition("/")
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/"):
            for found in page.get("Contents", ()):
                # Arrow leaves an empty key for the folder of a file that it removed: no file, and nobody's to sweep.
                if found["Key"].endswith("/"):
                    continue
                yield f"s3://{bucket}/{found['Key']}", int(found["LastModified"].timestamp() * 10**9)


class Reached:
    """The files that a snapshot needs. They never change, so each manifest is read once."""

    def __init__(self) -> None:
        self._of_manifest: dict[str, frozenset[str]] = {}
        self._of_snapshot: dict[int, frozenset[str]] = {}

    def by(self, table: IcebergTable) -> dict[int, frozenset[str]]:
        """By the id of each snapshot that the metadata has."""
        for snapshot in table.metadata.snapshots:
            if snapshot.snapshot_id in self._of_snapshot:
                continue
            found = {plain(snapshot.manifest_list)}
            for manifest in snapshot.manifests(table.io):
                path = plain(manifest.manifest_path)
                if path not in self._of_manifest:
                    entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                    self._of_manifest[path] = frozenset(plain(entry.data_file.file_path) for entry in entries)
                found |= {path, *self._of_manifest[path]}
            self._of_snapshot[snapshot.snapshot_id] = frozenset(found)
        there = {snapshot.snapshot_id for snapshot in table.metadata.snapshots}
        return {number: files for number, files in self._of_snapshot.items() if number in there}

    def of_snapshots(self, table: IcebergTable) -> frozenset[str]:
        told = [
            table.properties,
            *(
                (snapshot.summary.additional_properties if snapshot.summary else {})
                for snapshot in table.metadata.snapshots
            ),
        ]
        deleted_keys = {plain(json.loads(one[TOMBSTONES]).get("path", "")) for one in told if TOMBSTONES in one}
        return frozenset(deleted_keys - {""}).union(*self.by(table).values())

    def of_table(self, table: IcebergTable) -> frozenset[str]:
        """All that the newest metadata names: its snapshots' files, itself, the metadata files of its log, and those
        that an expiry which was stopped has to be finished from.
        """
        log = {plain(entry.metadata_file) for entry in table.metadata.metadata_log}
        log |= {plain(file) for key, file in table.properties.items() if key.startswith("lakehouse.expiry.")}
        statistics = {plain(one.statistics_path) for one in table.metadata.statistics}
        return self.of_snapshots(table) | log | statistics | {plain(table.metadata_location)}
