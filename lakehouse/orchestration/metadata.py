"""What a materialization carries: figures, snapshot, a preview with personal columns masked, column lineage.

Figures are measured elsewhere and passed in, or read from the table just written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.orchestration.specs import storage_metadata, table_key
from lakehouse.settings import Settings
from lakehouse.tables import Table, TableName, Window
from lakehouse.tables.sql import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from lakehouse.iceberg import LakeTable

PREVIEW_ROWS = 10
_MASK = "•••"
_WIDTH = 40

ColumnLineage = Mapping[str, Collection[tuple[TableName, str]]]
"""For each column of a table: the columns it was computed from."""


def table_metadata(table: Table, stored: LakeTable, *, seconds: float, snapshot_id: int | None) -> dict[str, Any]:
    """Rows, files, bytes, snapshot, seconds, column schema, storage and a preview of the table as it is on main."""
    stats = stored.stats()
    return {
        **storage_metadata(table),
        "dagster/row_count": stats.rows,
        "lakehouse/files": stats.files,
        "lakehouse/bytes": stats.bytes,
        "lakehouse/snapshot_id": dg.MetadataValue.text(str(snapshot_id)),
        "lakehouse/seconds": round(seconds, 2),
        "lakehouse/preview": dg.MetadataValue.md(preview(table, stored.scan(limit=PREVIEW_ROWS).read_all())),
    }


def lineage_metadata(lineage: ColumnLineage, *, url: str | None) -> dict[str, Any]:
    """Column lineage under the UI's key, and a link to its drawing, since the open-source UI does not draw it."""
    deps = {
        column: [dg.TableColumnDep(asset_key=table_key(name), column_name=source) for name, source in sorted(sources)]
        for column, sources in lineage.items()
    }
    found: dict[str, Any] = {"dagster/column_lineage": dg.TableColumnLineage(deps_by_column=deps)}
    if url:
        found["lakehouse/lineage"] = dg.MetadataValue.url(url)
    return found


def preview(table: Table, rows: pa.Table) -> str:
    """Up to ten rows as a Markdown table; values of personal columns are masked, long ones cut."""
    names = rows.column_names
    shown = (
        [_cell(row[name], masked=name in table.personal_columns) for name in names]
        for row in rows.slice(0, PREVIEW_ROWS).to_pylist()
    )
    return _lines(names, shown)


def markdown_table(rows: Sequence[Mapping[str, str | None]]) -> str:
    """Rows of text as a Markdown table, as they are but for their length; NULL is told from an empty text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = ([_shown(row[name]) if name in row else "" for name in names] for row in rows)
    return _lines(names, cells)


def rows_by_day(settings: Settings, table: Table, stored: LakeTable, window: Window) -> dict[date, int]:
    """Rows of each day of the window, 0 where there are none."""
    from lakehouse.iceberg import connect

    day = f"cast({quote(table.window_column or '')} as date)"
    sql = f"select {day}, count(*) from {stored.relation_sql()} where {day} >= $1 and {day} < $2 group by 1"
    with connect(settings) as connection:
        counted = dict(connection.execute(sql, [window.start, window.end]).fetchall())
    return {day: counted.get(day, 0) for day in window.days}


def _lines(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (" | ".join(cells) for cells in (names, ["---"] * len(names), *rows))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: object, *, masked: bool) -> str:
    if value is None:
        return ""
    return _MASK if masked else _shown(str(value))


def _shown(text: str | None) -> str:
    if text is None:
        return "NULL"
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _WIDTH else text[: _WIDTH - 1] + "…"
