"""One Iceberg table: what the rest of the project may do with it.

The door of this package together with `lake.py`; each part is a module of its own.
"""

from __future__ import annotations

from lakehouse.iceberg.compacting import Compacting
from lakehouse.iceberg.effects import Effects
from lakehouse.iceberg.expiring import Expiring
from lakehouse.iceberg.merging import Merging
from lakehouse.iceberg.reading import Reading
from lakehouse.iceberg.references import References
from lakehouse.iceberg.sweeping import Sweeping


class LakeTable(Compacting, Effects, Expiring, Merging, References, Reading, Sweeping):
    """A table of the lake. Every method looks the table up anew: other processes write to it too."""
