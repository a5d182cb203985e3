"""What all ledgers share: how such a table is declared, and how one run's entries are added to it, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from lakehouse.iceberg import Commit, Lake, arrow_schema
from lakehouse.tables import Column, Layer, Table, TableName


def ledger_table(name: str, description: str, columns: Sequence[Column], *, file: str) -> Table:
    """The table `ops.<name>`. `file` is the module that declares it: it is the only contract the table has."""
    return Table(
        name=TableName(Layer.OPS, name),
        domain="lakehouse",
        description=description,
        columns=tuple(columns),
        file=Path(file),
    )


def record(
    lake: Lake,
    table: Table,
    entries: Iterable[Mapping[str, object]],
    *,
    run_key: str,
    issued_at: datetime | None = None,
) -> Commit:
    """Add the entries of one run in one snapshot; the same run key adds nothing again. Makes the table on demand.

    `issued_at`: when the key came into being, for one that may have been tried before (see `Promise`).
    """
    rows = pa.Table.from_pylist([dict(entry) for entry in entries], schema=arrow_schema(table.columns))
    return lake.create(table).append(rows, run_key=run_key, issued_at=issued_at)
