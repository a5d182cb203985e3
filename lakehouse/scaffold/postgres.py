"""The tables of a PostgreSQL database as candidates: catalogue, keys, comments, and a sample of rows.

By what a table would be read is `ways.py`. Only the catalogue and bounded reads: at most `SAMPLE_ROWS` rows of a table,
and no query longer than two minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import pyarrow as pa

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
from lakehouse.scaffold.ways import Facts, choose_way, refusal
from lakehouse.sources.postgres.catalog import (
    CatalogColumn,
    Connection,
    Relation,
    columns,
    indexes,
    primary_key,
    storage,
    tables,
)
from lakehouse.sources.postgres.connection import Address, Stream, catalogue
from lakehouse.sources.postgres.types import retype, select_list

_TIMEOUT = "set statement_timeout = '120s'"

_ESTIMATE = """
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


def postgres_candidates(
    address: Address, schema: str, names: Sequence[str] | None, watermark: str | None
) -> Iterator[Candidate | Refusal]:
    """The tables of a schema, or those named. Raises SourceChanged for one that is not there."""
    with catalogue(address) as connection:
        for relation in _wanted(connection, address, schema, names):
            yield _candidate(connection, address, relation, watermark)


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
    facts = _facts(connection, relation)
    if (refused := refusal(facts, named)) is not None:
        return refused
    row = connection.execute(_ESTIMATE, (relation.schema, relation.name)).fetchone()
    estimate, sampled, comment = row or (-1, False, "")
    sample = _sample(address, relation, facts.columns, int(estimate), sampled=bool(sampled))
    clock = connection.execute("select clock_timestamp()").fetchone()
    way = choose_way(facts, sample, clock[0] if clock else None, named)
    if isinstance(way, Refusal):
        return way
    described = connection.execute(_COMMENTS, (relation.schema, relation.name)).fetchall()
    comments = {str(column): str(text) for column, text in described}
    return Candidate(
        label=str(relation),
        table=table_word(relation.name),
        columns=tuple(
            CandidateColumn(one.name, postgres_type(one), one.nullable, comments.get(one.name, ""))
            for one in facts.columns
        ),
        options={"table": str(relation), "watermark": way.watermark},
        sample=sample,
        description=str(comment),
        primary_key=facts.key,
        why=way.why,
        notes=way.notes,
    )


def _facts(connection: Connection, relation: Relation) -> Facts:
    stored = storage(connection, relation)
    return Facts(
        relation,
        [column for column in columns(connection, relation) if not column.name.startswith("_")],
        primary_key(connection, relation),
        {index.columns[0] for index in indexes(connection, relation) if index.columns},
        plain=stored is not None and stored.kind == "r" and not stored.inherited,
    )


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
