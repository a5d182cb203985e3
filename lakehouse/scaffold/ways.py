"""How a PostgreSQL table would be read: by a column that says when a row changed, by `xmin`, in full, or not at all.

What each way reads and costs is `sources/postgres/`; here is which one a table is proposed with, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow.compute as pc

from lakehouse.scaffold.candidate import Refusal, Sample
from lakehouse.sources.postgres.catalog import CatalogColumn, Relation

XMIN, FULL = "xmin", "full"
SMALL_ROWS = 100_000
"""The most rows of a table that is proposed to be read in full: that, and a sum over it, are a matter of a second."""

_TIMES = {"timestamp", "timestamptz"}
_CHANGED = {
    *("updatedat", "modifiedat", "changedat", "lastmodified", "lastupdated", "lastupdate", "lastmodifiedat"),
    *("lastupdatedat", "updatedon", "modifiedon", "updatetime", "modifiedtime", "updated", "modified", "mtime"),
}
_CREATED = {
    *("createdat", "insertedat", "createdon", "createtime", "created", "recordedat", "loggedat", "occurredat"),
}
_BY_XMIN = (
    "No column says when a row changed, so rows are found by the transactions that wrote them (xmin): that sees every\n"
    "insert and update, no deletion, and looks at the whole table. A column that is set at each change costs less."
)
_IN_FULL = (
    "No column says when a row changed, and the table is small: all of it is read when a sum over it has changed, and\n"
    "deletions are found too. Once it is large, {} costs less."
)


@dataclass(frozen=True)
class Watermark:
    """A column to read changes by. `changes`: it is set whenever a row changes, not only when it is made."""

    column: CatalogColumn
    changes: bool
    indexed: bool


@dataclass(frozen=True)
class Facts:
    """What the catalogue says of a table. `plain`: no view, foreign or partitioned table, and none inherits from it.

    `indexed` are the columns that an index begins with.
    """

    relation: Relation
    columns: Sequence[CatalogColumn]
    key: tuple[str, ...]
    indexed: set[str]
    plain: bool


@dataclass(frozen=True)
class Way:
    """The load option `watermark`; why it is so, where that is not plain to see, for the contract; notes for people."""

    watermark: str
    why: str = ""
    notes: tuple[str, ...] = ()


def find_watermark(found: Sequence[CatalogColumn], indexed: set[str], named: str | None = None) -> Watermark | None:
    """The column to read by: the one named, else by its name; of several the one indexed, then the one never NULL."""
    able = [column for column in found if column.base in _TIMES]
    if named is not None:
        return next((Watermark(one, changes=True, indexed=named in indexed) for one in able if one.name == named), None)
    ranked = [
        (group, one.name not in indexed, one.nullable, place, one)
        for place, one in enumerate(able)
        for group, known in enumerate((_CHANGED, _CREATED))
        if one.name.lower().replace("_", "") in known
    ]
    if not ranked:
        return None
    group, _, _, _, column = min(ranked, key=lambda entry: entry[:4])
    return Watermark(column, changes=group == 0, indexed=column.name in indexed)


def refusal(facts: Facts, named: str | None) -> Refusal | None:
    """Why a table cannot be read by what was named, or by nothing; None where a look at its rows decides."""
    label, times = str(facts.relation), [column.name for column in facts.columns if column.base in _TIMES]
    if find_watermark(facts.columns, facts.indexed, named) is not None:
        return None
    if named is not None and named not in {XMIN, FULL}:
        there = f"; its timestamps: {', '.join(times)}" if times else ""
        return Refusal(
            label, f"it has no timestamp column {named!r}{there}", "Name another, or xmin, with --watermark."
        )
    if named == XMIN and not facts.plain:
        return Refusal(label, "only plain tables can be read by xmin", "Name a column with --watermark, or full.")
    if facts.key:
        return None
    if named is not None:
        reason = f"it has no primary key, by which rows that are read by {named} are recognised"
        return Refusal(label, reason, "Give it one, or name a timestamp column with --watermark.")
    unless = f" If {times[0]} is: --tables {facts.relation.name} --watermark {times[0]}" if times else ""
    return Refusal(
        label,
        "it has no primary key, and no column says by its name when a row changed: each load would add all of it again",
        f"Give it a key, or a column updated_at that is set whenever a row changes.{unless}",
    )


def choose_way(facts: Facts, sample: Sample, clock: datetime | None, named: str | None) -> Way | Refusal:
    """How a table is read that `refusal` lets pass; `clock` is the server's time."""
    if (watermark := find_watermark(facts.columns, facts.indexed, named)) is not None:
        return Way(watermark.column.name, notes=tuple(_notes(facts, watermark, sample, clock)))
    if named is not None:
        return Way(named)
    cheaper = (
        "a column that is set at each change, or `xmin`," if facts.plain else "a column that is set at each change"
    )
    if sample.complete and 0 < sample.rows.num_rows <= SMALL_ROWS:
        return Way(FULL, _IN_FULL.format(cheaper), tuple(_better(facts, "read in full, for it is small")))
    if facts.plain:
        return Way(XMIN, _BY_XMIN, tuple(_better(facts, "read by xmin, a look at the whole table at each load")))
    return Refusal(
        str(facts.relation),
        "it is large, no plain table, and no column says by its name when a row changed",
        "Name a timestamp that is set at each change with --watermark, or add its partitions by themselves.",
    )


def _better(facts: Facts, how: str) -> Iterator[str]:
    times = [column.name for column in facts.columns if column.base in _TIMES]
    yield f"{how}: no column says by its name when a row changed" + (
        f"; if one of {', '.join(times)} does, say so with --watermark" if times else ""
    )


def _notes(facts: Facts, watermark: Watermark, sample: Sample, clock: datetime | None) -> Iterator[str]:
    name = watermark.column.name
    if not watermark.changes:
        other = " `--watermark xmin` would read it" if facts.plain and facts.key else " is there a column that changes?"
        yield f"read by {name}: a row that changes after it was made is not read again;{other}"
    if not watermark.indexed:
        yield f"{name} has no index: each load reads the whole table on the server"
    times = sample.rows.column(name)
    if times.null_count:
        yield f"{times.null_count:,} rows have no {name}: they go to the quarantine at the first load"
    latest = pc.max(times).as_py() if len(times) > times.null_count else None
    if isinstance(latest, datetime) and clock is not None and _utc(latest) > _utc(clock):
        yield f"{name} goes into the future (up to {latest}): such rows are read once the time has come"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
