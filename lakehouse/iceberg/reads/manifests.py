"""What manifest lists and manifests name: paths and bytes, as fast as PyIceberg can read them.

PyIceberg resolves the schema of every Avro file anew, which takes ten times as long as its few entries; here that is
done once for each schema. Which files may go is `expiry/` and `orphans/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Self

from pyiceberg.avro.decoder import new_decoder
from pyiceberg.avro.file import AvroFile
from pyiceberg.avro.reader import Reader
from pyiceberg.avro.resolver import resolve_reader
from pyiceberg.io import FileIO, InputFile
from pyiceberg.manifest import (
    DEFAULT_READ_VERSION,
    MANIFEST_ENTRY_SCHEMAS,
    MANIFEST_LIST_FILE_SCHEMAS,
    DataFile,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    _inherit_from_manifest,
)
from pyiceberg.schema import Schema
from pyiceberg.utils.schema_conversion import AvroSchemaConversion
from typing_extensions import override

_AVRO_SCHEMA = "avro.schema"


def manifests_in(io: FileIO, manifest_list: str) -> Iterator[tuple[str, int]]:
    """Path and bytes of each manifest of a list. Raises FileNotFoundError, OSError."""
    with _Resolved(io.new_input(manifest_list), _list_reader) as listed:
        for manifest in listed:
            yield manifest.manifest_path, manifest.manifest_length


def files_in(io: FileIO, manifest: str, *, length: int = 0) -> Iterator[tuple[str, int, bool]]:
    """Path and bytes of each data or delete file of a manifest, and whether it is live there.

    Raises FileNotFoundError, and OSError also for a manifest shorter than `length`: cut off between two blocks, an Avro
    file looks like a whole one.
    """
    with _Resolved(io.new_input(manifest), _entry_reader, length) as entries:
        for entry in entries:
            live = entry.status != ManifestEntryStatus.DELETED
            yield entry.data_file.file_path, entry.data_file.file_size_in_bytes, live


def entries_in(io: FileIO, manifest: ManifestFile) -> Iterator[ManifestEntry]:
    """The live entries of a manifest, one after the other, with what they have from it (`reads/live_files.py`).

    Raises FileNotFoundError, OSError.
    """
    with _Resolved(io.new_input(manifest.manifest_path), _entry_reader) as entries:
        for entry in entries:
            if entry.status != ManifestEntryStatus.DELETED:
                yield _inherit_from_manifest(entry, manifest)


class _Resolved(AvroFile[Any]):
    """An Avro file whose reader comes from `resolve`, by the text of its schema."""

    def __init__(self, file: InputFile, resolve: Callable[[str], Reader], length: int = 0) -> None:
        super().__init__(file)
        self._resolve, self._length = resolve, length

    @override
    def __enter__(self) -> Self:
        with self.input_file.open() as stream:
            content = stream.read()
        if len(content) < self._length:
            raise OSError(f"{self.input_file.location} has {len(content)} of its {self._length} bytes")
        self.decoder = new_decoder(content)
        self.header = self._read_header()
        self.reader = self._resolve(self.header.meta[_AVRO_SCHEMA])
        return self


# Readers keep nothing of what they read, so that threads may share them.
@lru_cache(maxsize=64)
def _list_reader(written: str) -> Reader:
    wanted = MANIFEST_LIST_FILE_SCHEMAS[DEFAULT_READ_VERSION]
    return resolve_reader(_schema(written), wanted, {-1: ManifestFile})


@lru_cache(maxsize=64)
def _entry_reader(written: str) -> Reader:
    wanted = MANIFEST_ENTRY_SCHEMAS[DEFAULT_READ_VERSION]
    return resolve_reader(_schema(written), wanted, {-1: ManifestEntry, 2: DataFile})


def _schema(written: str) -> Schema:
    return AvroSchemaConversion().avro_to_iceberg(json.loads(written))
