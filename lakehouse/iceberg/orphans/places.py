"""The folders that a table writes to, and that they are its alone. What lies in them is `sweep.py`."""

from __future__ import annotations

from collections.abc import Iterator

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
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


def refuse_shared(table: IcebergTable, name: TableName) -> None:
    """Raise CommitError when another table of the catalog writes into a folder of this one, or around it.

    What is that table's would look like nobody's here. A table that cannot be opened may be one, so its error is let
    out: StateError, CatalogError.
    """
    places = places_of(table.metadata)
    for other in _others(table.catalog, tuple(table.name())):
        for theirs in places_of(other.metadata):
            for ours in places:
                if is_under(ours, theirs) or is_under(theirs, ours):
                    raise CommitError(
                        f"{name} shares a folder with {'.'.join(other.name())}, so its files cannot be told apart",
                        expected="a folder for each table",
                        found=f"{ours} and {theirs}",
                        remedy="Write one of them anew elsewhere; until then no file of either is swept.",
                    )


def _others(catalog: Catalog, own: tuple[str, ...]) -> Iterator[IcebergTable]:
    waiting = list(catalog.list_namespaces())
    while waiting:
        namespace = waiting.pop()
        try:
            waiting += (tuple(below) for below in catalog.list_namespaces(namespace))
            found = catalog.list_tables(namespace)
        except NoSuchNamespaceError:
            continue
        for identifier in found:
            if tuple(identifier) != own:
                try:
                    yield catalog.load_table(identifier)
                except NoSuchTableError:
                    # Dropped while we looked.
                    continue
