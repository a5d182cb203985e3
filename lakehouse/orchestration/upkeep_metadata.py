"""What a materialization of upkeep carries: the table before and after, and what each action did, as figures to plot.

Figures are those of the report; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

if TYPE_CHECKING:
    from lakehouse.upkeep import UpkeepReport

_FIGURES = ("files", "bytes", "rows", "snapshots", "small_files", "delete_files")
"""Figures of a table's health that are told before and after."""
_TOLD = ("files", "bytes", "snapshots")
"""Those of them that stand in the log, too."""


def report_metadata(report: UpkeepReport) -> dict[str, Any]:
    """Everything that one upkeep of a table did; after it the figures have the plain names, as in `table_metadata`."""
    return dict(_entries(report))


def sentence(report: UpkeepReport) -> str:
    """What became of the table, in one line."""
    figures = ((name, getattr(report.before, name), getattr(report.after, name)) for name in _TOLD)
    return f"{report.table}: " + ", ".join(f"{name} {before:,} -> {after:,}" for name, before, after in figures)


def _entries(report: UpkeepReport) -> Iterator[tuple[str, Any]]:
    for figure in _FIGURES:
        yield f"lakehouse/{figure}_before", getattr(report.before, figure)
        yield f"lakehouse/{figure}", getattr(report.after, figure)
    yield from _compaction(report)
    yield from _expiry(report)
    yield from _orphans(report)
    for action, seconds in report.seconds.items():
        yield f"lakehouse/{action.value}_seconds", round(seconds, 2)
    if report.refused:
        yield "lakehouse/refused", dg.MetadataValue.text("; ".join(report.refused))
    if report.troubles:
        yield "lakehouse/troubles", dg.MetadataValue.text("; ".join(report.troubles))


def _compaction(report: UpkeepReport) -> Iterator[tuple[str, Any]]:
    done = report.compaction
    if done is None:
        return
    yield "lakehouse/groups_packed", done.groups
    yield "lakehouse/groups_overtaken", done.overtaken
    if done.commits:
        # As text: JavaScript rounds whole numbers of this size.
        yield "lakehouse/snapshot_id", dg.MetadataValue.text(str(done.commits[-1].snapshot_id))
        yield "lakehouse/row_hash", dg.MetadataValue.text(done.row_hash)
        yield "lakehouse/rows_proved", done.rows


def _expiry(report: UpkeepReport) -> Iterator[tuple[str, Any]]:
    done = report.expiry
    if done is None:
        return
    yield "lakehouse/snapshots_expired", done.snapshots_removed
    yield "lakehouse/refs_removed", len(done.refs_removed)
    yield "lakehouse/files_deleted", done.data_files_deleted + done.metadata_files_deleted
    yield "lakehouse/bytes_deleted", done.bytes_deleted
    if done.left:
        yield "lakehouse/files_left", len(done.left)


def _orphans(report: UpkeepReport) -> Iterator[tuple[str, Any]]:
    done = report.orphans
    if done is None:
        return
    yield "lakehouse/orphans_found", done.found
    yield "lakehouse/orphans_removed", done.removed
    yield "lakehouse/orphan_bytes_removed", done.bytes_removed
    for figure, count in (("left", len(done.left)), ("named", done.named), ("doubtful", done.doubtful)):
        if count:
            yield f"lakehouse/orphans_{figure}", count
