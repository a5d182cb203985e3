"""What a table is called: one name for the asset key, the Iceberg identifier, the dbt relation and the CLI."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from lakehouse.errors import SettingsError

_PART = re.compile(r"[a-z][a-z0-9_]*")


class Layer(StrEnum):
    """The medallion layers, and the two namespaces the lake keeps for itself."""

    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"
    QUARANTINE = "quarantine"
    OPS = "ops"


@dataclass(frozen=True, order=True)
class TableName:
    """`layer.table`, e.g. `silver.orders`. The layer is the Iceberg namespace."""

    layer: Layer
    table: str

    def __str__(self) -> str:
        """As people write it: `silver.orders`."""
        return f"{self.layer.value}.{self.table}"

    @property
    def key(self) -> tuple[str, str]:
        """Asset key and Iceberg identifier."""
        return (self.layer.value, self.table)

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read `silver.orders`. Raises SettingsError for anything else."""
        layer, _, table = text.partition(".")
        layers = ", ".join(known.value for known in Layer)
        if layer not in set(Layer) or not _PART.fullmatch(table):
            raise SettingsError(
                f"{text!r} is not a table name",
                expected=f"<layer>.<table> with a layer of {layers} and a table of a-z, 0-9 and _",
                remedy="Run `lakehouse table list` for the tables there are.",
            )
        return cls(Layer(layer), table)
