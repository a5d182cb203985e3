"""A column: its name, Iceberg type, and what the contract says about it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column of a table.

    `type` is an Iceberg type as the table spec writes it ("long", "decimal(12, 2)", "timestamptz", ...; Iceberg spec,
    "Primitive Types"). `personal` columns are masked in previews and carry no column statistics.
    """

    name: str
    type: str
    required: bool = False
    description: str = ""
    personal: bool = False
    unique: bool = False
    renamed_from: str | None = None
    """The name that the column had before: a table that has that one keeps its values under the new name."""


EXTRA = "_extra"
"""The metadata column of what the contract does not name."""

METADATA_COLUMNS: tuple[Column, ...] = (
    Column("_extracted_at", "timestamptz", required=True, description="When the load that brought the row began (UTC)"),
    Column("_source", "string", required=True, description="System, table or file, and position the row came from"),
    Column("_run_key", "string", required=True, description="Key of the load that brought the row"),
    Column("_source_version", "string", description="The source's own version of the row, where it has one"),
    Column(EXTRA, "string", description="JSON object of what the source had and the contract did not name"),
)
"""What every bronze table carries behind the source's own columns."""

DELETED = Column("_deleted", "boolean", description="Whether the source no longer has the row, which was as it is here")
"""What a bronze table carries behind them whose source is compared with it as a whole (`watermark: full`)."""
