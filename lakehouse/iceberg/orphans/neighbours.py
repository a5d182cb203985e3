"""Where the other tables of a catalog write to, without opening each of them for every sweep.

What is concluded from it is `places.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import structlog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table as IcebergTable

from lakehouse.iceberg.catalogs.safe import SafeCatalog
from lakehouse.iceberg.orphans.places import places_of

_log = structlog.get_logger(__name__)


class Neighbours:
    """The places of tables by their metadata file, which never changes: what it says is read once.

    In this process; with a `file` also in those that come after it. A table that was committed to since has another
    metadata file and is opened anew, as is each table of a catalog that does not tell of these files (REST).
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._known: dict[str, tuple[str, ...]] = {}

    def of(self, table: IcebergTable) -> Mapping[tuple[str, ...], tuple[str, ...]]:
        """The places of every table but this, by name.

        A table that cannot be opened may write anywhere, so its error is let out: StateError, CatalogError,
        SettingsError, and what the catalog raises.
        """
        before = self._known or self._read()
        self._known = {table.metadata_location: places_of(table.metadata)}
        catalog, own = SafeCatalog.of(table), tuple(table.name())
        found: dict[tuple[str, ...], tuple[str, ...]] = {}
        for other, file in catalog.metadata_files().items():
            if other == own:
                continue
            try:
                newest, found[other] = (file, before[file]) if file in before else _opened(catalog, other)
            except NoSuchTableError:
                # Dropped while we looked.
                continue
            self._known[newest] = found[other]
        if self._known != before:
            self._write()
        return found

    def _read(self) -> dict[str, tuple[str, ...]]:
        if self._file is None:
            return {}
        try:
            kept = json.loads(self._file.read_bytes())
            return {str(newest): tuple(map(str, places)) for newest, places in kept.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            _log.warning("what is known of tables' folders cannot be read: each is opened", reason=str(error))
            return {}

    def _write(self) -> None:
        if self._file is None:
            return
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps(self._known))
            fresh.replace(self._file)
        except OSError as error:
            _log.warning("what is known of tables' folders was not kept", reason=str(error))


def _opened(catalog: SafeCatalog, name: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The newest metadata file of a table, and the places that it tells."""
    table = catalog.load_table(name)
    return table.metadata_location, places_of(table.metadata)
