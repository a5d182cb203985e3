"""The folders that a table writes to, and that they are its alone.

What lies in them is `sweep.py`; which other tables there are, `neighbours.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.table import Table as IcebergTable
from pyiceberg.table.metadata import TableMetadata

from lakehouse.errors import CommitError, StateError
from lakehouse.storage.paths import is_under, normalise
from lakehouse.tables import TableName

_PROPERTIES = ("write.data.path", "write.metadata.path", "write.object-storage.path", "write.folder-storage.path")


def places_of(metadata: TableMetadata) -> tuple[str, ...]:
    """The table's location, and the folders outside of it that its properties name. Raises SettingsError."""
    named = [metadata.location, *(metadata.properties[key] for key in _PROPERTIES if key in metadata.properties)]
    places: list[str] = []
    for place in map(normalise, named):
        if not any(is_under(place, other) for other in places):
            places = [*(other for other in places if not is_under(other, place)), place]
    return tuple(places)


def keys_in(top: str, name: TableName, places: tuple[str, ...]) -> tuple[str, ...]:
    """The places as prefixes of the paths in a store at `top`. Raises StateError for a place that it does not hold."""
    for place in places:
        if not is_under(place, top) or place == top:
            raise StateError(
                f"the files of {name} are not in a folder of their own below {top}, so none of them can be swept",
                expected=f"a folder below {top}",
                found=place,
                remedy="Move the table into a folder of the warehouse, or set the warehouse that it lies in.",
            )
    return tuple(place[len(top) :].strip("/") + "/" for place in places)


def refuse_shared(table: IcebergTable, name: TableName, others: Mapping[tuple[str, ...], tuple[str, ...]]) -> None:
    """Raise CommitError when another table, of which the places are given, writes into a folder of this or around it.

    What is that table's would look like nobody's here.
    """
    for ours in places_of(table.metadata):
        for other, places in others.items():
            for theirs in places:
                if is_under(ours, theirs) or is_under(theirs, ours):
                    raise CommitError(
                        f"{name} shares a folder with {'.'.join(other)}, so its files cannot be told apart",
                        expected="a folder for each table",
                        found=f"{ours} and {theirs}",
                        remedy="Write one of them anew elsewhere; until then no file of either is swept.",
                    )
