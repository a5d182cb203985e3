"""The manifests of delete files that a snapshot lists: those that stay as they are, and one new one a partition spec.

Which delete files come and go is said by `produce.py`; what they hold, by `deletes/`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.manifest import (
    DataFile,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriter,
    ManifestWriterV2,
)


class DeleteManifestWriter(ManifestWriterV2):
    """PyIceberg's writer knows manifests of data files only."""

    def content(self) -> ManifestContent:
        """Of delete files."""
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


def entry_as(entry: ManifestEntry, status: ManifestEntryStatus, snapshot_id: int | None) -> ManifestEntry:
    """The entry of a file that is as old as before."""
    return ManifestEntry.from_args(
        status=status,
        snapshot_id=snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


@dataclass(frozen=True)
class DeleteManifests:
    """Makes those of one snapshot. `writer` begins a manifest of a partition spec."""

    snapshot_id: int
    writer: Callable[[int], ManifestWriter]

    def made(
        self,
        before: Iterable[ManifestFile],
        entries: Mapping[str, Sequence[ManifestEntry]],
        gone: Collection[str],
        come: Iterable[DataFile],
    ) -> list[ManifestFile]:
        """What follows on the head's manifests, whose live entries are `entries` by the manifest's path.

        `gone` are paths of delete files that the snapshot removes, `come` the files that it adds.
        """
        kept: list[ManifestFile] = []
        new: dict[int, list[ManifestEntry]] = defaultdict(list)
        for manifest in before:
            live = entries.get(manifest.manifest_path, ())
            if any(entry.data_file.file_path in gone for entry in live):
                new[manifest.partition_spec_id] += [self._after(entry, gone) for entry in live]
            elif manifest.has_added_files() or manifest.has_existing_files():
                kept.append(manifest)
        for file in come:
            new[file.spec_id].append(self._added(file))
        for spec_id, listed in new.items():
            with self.writer(spec_id) as writer:
                for entry in listed:
                    writer.add_entry(entry)
            kept.append(writer.to_manifest_file())
        return kept

    def _after(self, entry: ManifestEntry, gone: Collection[str]) -> ManifestEntry:
        if entry.data_file.file_path in gone:
            return entry_as(entry, ManifestEntryStatus.DELETED, self.snapshot_id)
        return entry_as(entry, ManifestEntryStatus.EXISTING, entry.snapshot_id)

    def _added(self, file: DataFile) -> ManifestEntry:
        # No sequence number: that of the snapshot, whichever attempt lands.
        return ManifestEntry.from_args(
            status=ManifestEntryStatus.ADDED,
            snapshot_id=self.snapshot_id,
            sequence_number=None,
            file_sequence_number=None,
            data_file=file,
        )
