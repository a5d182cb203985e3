"""Metadata files that this process has read or written lately: they never change, so that none is read twice.

Which file is a table's newest is always asked of the catalog. A load of a few rows asks for the same one a dozen times.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from pyiceberg.table.metadata import TableMetadata

_MOST = 16
"""So many, those asked for last, are kept: that of a table with thousands of snapshots takes megabytes."""


class KnownMetadata:
    """By the file's location. Any thread may ask."""

    def __init__(self) -> None:
        self._by_location: OrderedDict[str, TableMetadata] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, location: str) -> TableMetadata | None:
        """What a file says; None if it was not met lately."""
        with self._lock:
            if location in self._by_location:
                self._by_location.move_to_end(location)
            return self._by_location.get(location)

    def keep(self, location: str, metadata: TableMetadata) -> None:
        """Keep what a file says, in place of what was asked for longest ago."""
        with self._lock:
            self._by_location[location] = metadata
            self._by_location.move_to_end(location)
            if len(self._by_location) > _MOST:
                self._by_location.popitem(last=False)
