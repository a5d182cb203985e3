"""What upkeep may ask about files in a table's folders that nothing names. How they are found is `orphans/`."""

from __future__ import annotations

from lakehouse.iceberg.opened import Opened
from lakehouse.iceberg.orphans.neighbours import Neighbours
from lakehouse.iceberg.orphans.sweep import Sweep
from lakehouse.storage import Store


class Sweeping(Opened):
    """What a sweeper may do."""

    def sweep(self, store: Store, neighbours: Neighbours | None = None) -> Sweep:
        """A look at the table's folders in the store of the warehouse, to find and remove files that nothing names.

        `neighbours` know the folders of other tables; they may serve any number of sweeps, and by default are new.
        Raises CommitError when another table shares a folder or `gc.enabled` is false, StateError when the folders are
        not in the store, CatalogError when not all that is named can be read: then it is not known what is nobody's.
        """
        return Sweep(self.name, self._load, store, neighbours)
