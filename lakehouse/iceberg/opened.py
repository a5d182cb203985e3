"""A table by name, opened anew for every call: other processes write to it too.

What can be done with it is `effects.py`, `references.py` and `reading.py`; `table.py` brings them together.
"""

from __future__ import annotations

from collections.abc import Callable

from pyiceberg.table import Table as IcebergTable

from lakehouse.tables import TableName


class Opened:
    """What the parts of `LakeTable` share: the name, and a way to load what the catalog says now."""

    def __init__(self, name: TableName, load: Callable[[], IcebergTable]) -> None:
        self.name = name
        self._load = load
