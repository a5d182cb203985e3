"""The tables of a PostgreSQL database as candidates: catalogue, keys, comments, a watermark, and a sample of rows.

Only the catalogue and bounded reads: at most `SAMPLE_ROWS` rows of a table, and no query longer than two minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import SourceChanged
from lakehouse.scaffold.candidate import (
    SAMPLE_BYTES,
    SAMPLE_ROWS,
    Candidate,
    CandidateColumn,
    Refusal,
    Sample,
    table_word,
)
from lakehouse.scaffold.types import postgres_type
from lakehouse.sources.postgres.catalog import (
    CatalogColumn,
    Connection,
    Relation,
    columns,
    indexes,
    primary_key,
    tables,
)
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.types import retype, select_list

_TIMES = {"timestamp", "timestamptz"}
_CHANGED = {
    *("updatedat", "modifiedat", "changedat", "lastmodified", "lastupdated", "lastupdate", "lastmodifiedat"),
    *("lastupdatedat", "updatedon", "modifiedon", "updatetime", "modifiedtime", "updated", "modified", "mtime"),
}
_CREATED = {
    *("createdat", "insertedat", "createdon", "createtime", "created", "recordedat", "loggedat", "occurredat"),
}
_TIMEOUT = "set statement_timeout = '120s'"

_FACTS = """
select c.reltuples::bigint, c.relkind in ('r', 'm', 'p'), coalesce(obj_description(c.oid, 'pg_class'), '')
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s
"""
_COMMENTS = """
select a.attname, d.description from pg_description d
join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum = d.objsubid
where n.nspname = %s and c.relname = %s
"""


@dataclass(frozen=True)
class Watermark:
    """A column to read changes by. `changes`: it is set whenever a row changes, not only when it is made."""

    column: CatalogColumn
    changes: bool
    indexed: bool


def postgres_candidates(
    address: Address, schema: str, names: Sequence[str] | None, watermark: str | None
) -> Iterator[Candidate | Refusal]:
    """The tables of a schema, or those named. Raises SourceChanged for one that is not there."""
    with catalogue(address) as connection:
        for relation in _wanted(connection, address, schema, names):
            yield _candidate(connection, address, relation, watermark)


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


def _wanted(connection: Connection, address: Address, schema: str, names: Sequence[str] | None) -> list[Relation]:
    there = tables(connection)
    if names is None:
        found = [relation for relation in there if relation.schema == schema]
    else:
        found = [Relation.parse(name if "." in name else f"{schema}.{name}") for name in names]
    missing = [str(relation) for relation in found if relation not in there]
    if missing or not found:
        raise SourceChanged(
            f"{address} has no table {', '.join(missing)}"
            if missing
            else f"{address} has no tables in schema {schema!r}",
            found=", ".join(str(relation) for relation in there[:20]) or "no tables at all",
            remedy="Mend --tables or --schema, or grant the user of the address access to the schema.",
        )
    return found


def _candidate(connection: Connection, address: Address, relation: Relation, named: str | None) -> Candidate | Refusal:
    found = [column for column in columns(connection, relation) if not column.name.startswith("_")]
    indexed = {index.columns[0] for index in indexes(connection, relation) if index.columns}
    watermark = find_watermark(found, indexed, named)
    if watermark is None:
        return _refused(relation, found, named)
    estimate, sampled, comment = connection.execute(_FACTS, (relation.schema, relation.name)).fetchone() or (
        -1,
        False,
        "",
    )
    described = connection.execute(_COMMENTS, (relation.schema, relation.name)).fetchall()
    comments = {str(column): str(text) for column, text in described}
    sample = _sample(address, relation, found, int(estimate), sampled=bool(sampled))
    clock = connection.execute("select clock_timestamp()").fetchone()
    return Candidate(
        label=str(relation),
        table=table_word(relation.name),
        columns=tuple(CandidateColumn(c.name, postgres_type(c), c.nullable, comments.get(c.name, "")) for c in found),
        options={"table": str(relation), "watermark": watermark.column.name},
        sample=sample,
        description=str(comment),
        primary_key=primary_key(connection, relation),
        notes=tuple(_notes(watermark, sample, clock[0] if clock else None)),
    )


def _refused(relation: Relation, found: Sequence[CatalogColumn], named: str | None) -> Refusal:
    times = [column.name for column in found if column.base in _TIMES]
    if named is not None:
        there = f"; its timestamps: {', '.join(times)}" if times else ""
        return Refusal(str(relation), f"it has no timestamp column {named!r}{there}", "Name another with --watermark.")
    if times:
        return Refusal(
            str(relation),
            f"no column says by its name when a row changed; its timestamps: {', '.join(times)}",
            f"If one of them is set whenever a row changes, say so: --tables {relation.name} --watermark {times[0]}",
        )
    return Refusal(
        str(relation),
        "it has no timestamp column, and without one every load would add the whole table again",
        f"Give it one (alter table {relation} add column updated_at timestamptz not null default now(), and a trigger "
        "that sets it on update), or export the table as a file and add that.",
    )


def _notes(watermark: Watermark, sample: Sample, clock: object) -> Iterator[str]:
    name = watermark.column.name
    if not watermark.changes:
        yield f"read by {name}: a row that changes after it was made is not read again; is there a column that changes?"
    if not watermark.indexed:
        yield f"{name} has no index: each load reads the whole table on the server"
    times = sample.rows.column(name)
    if times.null_count:
        yield f"{times.null_count:,} rows have no {name}: they go to the quarantine at the first load"
    latest = pc.max(times).as_py() if len(times) > times.null_count else None
    if isinstance(latest, datetime) and isinstance(clock, datetime) and _utc(latest) > _utc(clock):
        yield f"{name} goes into the future (up to {latest}): such rows are read once the time has come"


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def _sample(
    address: Address, relation: Relation, found: Sequence[CatalogColumn], estimate: int, *, sampled: bool
) -> Sample:
    """All rows of a table that is small enough, else a random share of its pages, else (of a view) its first rows."""
    share = f" tablesample system ({100 * SAMPLE_ROWS / estimate:.6f})" if sampled and estimate > SAMPLE_ROWS else ""
    batches, size, rows = [], 0, 0
    with closing(Stream(address)) as stream:
        stream.run(_TIMEOUT)
        # One row more than is kept tells whether there are more.
        sql = f"select {select_list(found)} from {relation.sql}{share} limit {SAMPLE_ROWS + 1}"
        for batch in stream.batches(sql):
            table = retype(batch, found)
            batches.append(table)
            size, rows = size + table.nbytes, rows + len(table)
            if size > SAMPLE_BYTES:
                break
    whole = (
        pa.concat_tables(batches, promote_options="permissive") if batches else pa.table({c.name: [] for c in found})
    )
    complete = not share and rows <= SAMPLE_ROWS and size <= SAMPLE_BYTES
    return Sample(whole.slice(0, SAMPLE_ROWS), complete)
