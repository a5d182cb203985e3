"""What a PostgreSQL database has: tables, columns, keys and indexes, from `pg_catalog`. No rows are read here.

`information_schema` is not used: it hides what the user may not read, and then a missing grant looks like a missing
table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow

from lakehouse.tables.sql import quote

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True, order=True)
class Relation:
    """A table or view by schema and name."""

    schema: str
    name: str

    def __str__(self) -> str:
        """As contracts write it."""
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        """Quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @classmethod
    def parse(cls, text: str) -> Relation:
        """Read `schema.table` or `table` (of schema public), as written, with capitals."""
        schema, _, name = text.rpartition(".")
        return cls(schema or "public", name)


@dataclass(frozen=True)
class CatalogColumn:
    """A column. `type` is what people write, `base` what lies under domains; precision and scale of `numeric(p, s)`."""

    name: str
    type: str
    nullable: bool
    base: str
    category: str
    precision: int | None = None
    scale: int | None = None
    readable: bool = True


@dataclass(frozen=True)
class Storage:
    """What a relation is: its kind as in `pg_class` (`r` a table, `p` partitioned, `v` a view, ...) and its file.

    `inherited` says that other tables are part of it; `file` changes when the whole table is written anew.
    """

    kind: str
    inherited: bool
    file: int
    blocks: int
    block_bytes: int


@dataclass(frozen=True)
class Index:
    """An index: its columns in order (expressions are left out), and whether it is unique."""

    name: str
    columns: tuple[str, ...]
    unique: bool


_SYSTEM = ("pg_catalog", "information_schema", "pg_toast")

_COLUMNS = """
with recursive attribute as (
  select a.attnum, a.attname, format_type(a.atttypid, a.atttypmod) as shown, a.attnotnull, a.atttypid as type_id,
         a.atttypmod as modifier, has_column_privilege(a.attrelid, a.attnum, 'select') as readable
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = %s and c.relname = %s and a.attnum > 0 and not a.attisdropped
    and c.relkind in ('r', 'p', 'v', 'm', 'f')
), based as (
  select attnum, attname, shown, attnotnull, type_id, modifier, readable from attribute
  union all
  select b.attnum, b.attname, b.shown, b.attnotnull or t.typnotnull, t.typbasetype, t.typtypmod,
         b.readable
  from based b join pg_type t on t.oid = b.type_id and t.typtype = 'd'
)
select b.attname, b.shown, not b.attnotnull, t.typname, t.typcategory, b.modifier, b.readable
from based b join pg_type t on t.oid = b.type_id and t.typtype <> 'd'
order by b.attnum
"""

_TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
  and n.nspname <> all(%s) and n.nspname not like 'pg_temp_%%' and n.nspname not like 'pg_toast_temp_%%'
order by 1, 2
"""

_STORAGE = """
select c.relkind::text, exists (select from pg_inherits i where i.inhparent = c.oid),
       coalesce(pg_relation_filenode(c.oid), 0)::bigint,
       case when c.relkind in ('r', 'm') then pg_relation_size(c.oid) / current_setting('block_size')::bigint
            else 0 end,
       current_setting('block_size')::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s and c.relname = %s
"""

_INDEXES = """
select i.relname, x.indisunique, x.indisprimary,
       array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality as k(attnum, place)
             join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attnum
             where k.place <= x.indnkeyatts order by k.place)
from pg_index x
join pg_class i on i.oid = x.indexrelid
join pg_class c on c.oid = x.indrelid
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and x.indisvalid
order by not x.indisprimary, i.relname
"""


def tables(connection: Connection) -> tuple[Relation, ...]:
    """Every table and view that is not the system's own, in order of schema and name."""
    rows = connection.execute(_TABLES, (list(_SYSTEM),)).fetchall()
    return tuple(Relation(schema, name) for schema, name in rows)


def columns(connection: Connection, relation: Relation) -> tuple[CatalogColumn, ...]:
    """A table's columns in order; empty if there is no such table."""
    rows = connection.execute(_COLUMNS, (relation.schema, relation.name)).fetchall()
    return tuple(_column(row) for row in rows)


def storage(connection: Connection, relation: Relation) -> Storage | None:
    """What a relation is and how it is stored; None if there is none of that name."""
    row = connection.execute(_STORAGE, (relation.schema, relation.name)).fetchone()
    return None if row is None else Storage(*row)


def primary_key(connection: Connection, relation: Relation) -> tuple[str, ...]:
    """The columns of the primary key in order; empty if there is none."""
    rows = connection.execute(_INDEXES, (relation.schema, relation.name)).fetchall()
    return next((tuple(names) for _, _, primary, names in rows if primary), ())


def indexes(connection: Connection, relation: Relation) -> tuple[Index, ...]:
    """The usable indexes of a table, the primary key's first."""
    rows = connection.execute(_INDEXES, (relation.schema, relation.name)).fetchall()
    return tuple(Index(name, tuple(names), unique) for name, unique, _, names in rows)


def _column(row: Sequence[object]) -> CatalogColumn:
    name, shown, nullable, base, category, modifier, readable = row
    precision = scale = None
    if base == "numeric" and isinstance(modifier, int) and modifier >= 0:
        # numeric's modifier packs precision and a signed 11-bit scale above 4 (PostgreSQL, numeric.c, numerictypmodin).
        packed = modifier - 4
        precision, scale = (packed >> 16) & 0xFFFF, ((packed & 0x7FF) ^ 1024) - 1024
    known = str(name), str(shown), bool(nullable), str(base), str(category)
    return CatalogColumn(*known, precision, scale, bool(readable))
