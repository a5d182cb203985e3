"""What loads are measured on: TPC-H's lineitem in a PostgreSQL, its contract, and the same rows as JSON lines.

What is measured with them does not belong here.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import duckdb
import psycopg
from psycopg import conninfo

from assets_tests.projects import head
from bench.environment import Environment
from lakehouse.contracts import read_tables
from lakehouse.scaffold.project import new_project, write_project
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Layer, Table, TableName
from lakehouse.tables.sql import literal

PEER = Environment("dlt")
"""dlt, and the generator of TPC-H's rows."""
LINEITEM, LINES, RULED = (TableName(Layer.BRONZE, name) for name in ("lineitem", "lines", "ruled"))
"""Loaded from PostgreSQL; from JSON lines; and with ten more rules."""
DATABASE = "bench"
_BLOCK = 2**20
_CREATE = """
create unlogged table raw (
  l_orderkey bigint not null, l_partkey bigint not null, l_suppkey bigint not null, l_linenumber integer not null,
  l_quantity numeric(15, 2) not null, l_extendedprice numeric(15, 2) not null, l_discount numeric(15, 2) not null,
  l_tax numeric(15, 2) not null, l_returnflag text not null, l_linestatus text not null, l_shipdate date not null,
  l_commitdate date not null, l_receiptdate date not null, l_shipinstruct text not null, l_shipmode text not null,
  l_comment text not null)
"""
# Rows of all orders change on all days, in the order in which they were written.
_LINEITEM = """
create table lineitem as
  select *, timestamptz '2026-01-01 00:00:00+00' + interval '1 second' * (row_number() over () / 20) as updated_at
  from raw;
drop table raw;
alter table lineitem add primary key (l_orderkey, l_linenumber);
alter table lineitem alter updated_at set not null;
create index on lineitem (updated_at);
"""
_TOUCH = """
update lineitem set l_comment = 'again ' || l_comment, updated_at = clock_timestamp()
where ctid = any(array(select ctid from lineitem order by random() limit {rows}))
"""
_COLUMN = (
    "      - {{name: {name}, logicalType: {kind}, {physical}required: true{more}, description: As TPC-H has it}}\n"
)
_INTEGERS = {"l_orderkey": "long", "l_partkey": "long", "l_suppkey": "long", "l_linenumber": "int"}
_NUMBERS = ("l_quantity", "l_extendedprice", "l_discount", "l_tax")
_TEXTS = ("l_returnflag", "l_linestatus")
_DATES = ("l_shipdate", "l_commitdate", "l_receiptdate")
_MORE_TEXTS = ("l_shipinstruct", "l_shipmode", "l_comment")
_KEY = {"l_orderkey": 1, "l_linenumber": 2}
_RULES = (
    "l_quantity between 1 and 50",
    "l_extendedprice > 0",
    "l_discount between 0 and 0.1",
    "l_tax between 0 and 0.08",
    "l_returnflag in ('A', 'N', 'R')",
    "l_linestatus in ('F', 'O')",
    "l_receiptdate > l_shipdate",
    "length(l_comment) < 100",
    "l_shipmode <> ''",
    "l_shipdate >= date '1992-01-01'",
)
RULES = len(_RULES)
"""How many rules `RULED` has beyond those of `LINEITEM`."""


def make(folder: Path, scale: float, lines: int) -> int:
    """The server with its table, the files, and the project; returns how many rows there are."""
    _project(folder)
    rows = folder / "tpch"
    program = str(PEER.program("tpchgen-cli"))
    command = [program, "csv", "-s", str(scale), "--tables", "lineitem", "--output-dir", str(rows)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  (a program that we installed)
    [file] = rows.rglob("lineitem*.csv")
    with psycopg.connect(uri(folder), autocommit=True) as connection:
        connection.execute(_CREATE)
        with connection.cursor().copy("copy raw from stdin (format csv, header)") as copy, file.open("rb") as text:
            while block := text.read(_BLOCK):
                copy.write(block)
        for statement in _LINEITEM.strip().split(";\n"):
            connection.execute(statement.rstrip(";").encode())
        connection.execute("vacuum analyze lineitem")
        connection.execute("checkpoint")
        [count] = connection.execute("select count(*) from lineitem").fetchone() or (0,)
    _as_lines(file, folder / "state" / "landing" / "lines" / "lines.jsonl", lines)
    file.unlink()
    return int(count)


def touch(folder: Path, rows: int) -> int:
    """Change so many rows now, anywhere in the table (all, if it has fewer); returns how many."""
    with psycopg.connect(uri(folder), autocommit=True) as connection:
        return connection.execute(_TOUCH.format(rows=rows).encode()).rowcount


def uri(folder: Path) -> str:
    """Where the server is, in libpq's form; it is started unless it runs."""
    return EmbeddedPostgres(folder / "postgres").uri(DATABASE).get_secret_value()


def socket(folder: Path) -> Path:
    """The server's unix socket."""
    given = conninfo.conninfo_to_dict(uri(folder))
    return Path(str(given["host"])) / f".s.PGSQL.{given.get('port', 5432)}"


def remove(folder: Path) -> None:
    """Stop the server; its files may be elsewhere, so they are removed by their owner."""
    EmbeddedPostgres(folder / "postgres").remove()


def settings_of(folder: Path, lake: str = "state") -> Settings:
    """The project, with a lake of its own in the folder `lake` of `folder`."""
    sources = {"tpch": {"kind": "postgres", "url": uri(folder)}}
    sources["landing"] = {"kind": "files", "root": str(folder / "state" / "landing")}
    state = folder / lake
    state.mkdir(exist_ok=True)
    catalog = {"uri": f"sqlite:///{state}/catalog.db"}
    return load_settings(folder / "project", state=str(state), catalog=catalog, sources=sources)


def declared(settings: Settings, name: TableName) -> Table:
    """A table's contract."""
    return read_tables(settings.defs)[name]


def _project(folder: Path) -> None:
    project = folder / "project"
    files = dict(new_project(project, "bench"))
    from_postgres = "{source: tpch, table: public.lineitem, watermark: updated_at}"
    from_lines = '{source: landing, files: "lines/*.jsonl"}'
    tables = ((LINEITEM, from_postgres, ()), (RULED, from_postgres, _RULES), (LINES, from_lines, ()))
    for name, load, rules in tables:
        path = project / "defs" / "bench" / "bronze" / f"{name.table}.yaml"
        files[path] = _contract(name, load, rules)
    write_project(files)


def _contract(name: TableName, load: str, rules: tuple[str, ...]) -> str:
    kinds = dict.fromkeys((*_TEXTS, *_MORE_TEXTS), "string") | dict.fromkeys(_DATES, "date")
    kinds |= dict.fromkeys(_INTEGERS, "integer") | dict.fromkeys(_NUMBERS, "number") | {"updated_at": "timestamp"}
    physical = {**_INTEGERS, **dict.fromkeys(_NUMBERS, "decimal(15, 2)")}
    order = (*_INTEGERS, *_NUMBERS, *_TEXTS, *_DATES, *_MORE_TEXTS, "updated_at")
    text = head("bench", "bronze", name.table, "Lines of orders.")
    for column in order:
        stated = f"physicalType: '{physical[column]}', " if column in physical else ""
        more = f", primaryKey: true, primaryKeyPosition: {_KEY[column]}" if column in _KEY else ""
        text += _COLUMN.format(name=column, kind=kinds[column], physical=stated, more=more)
    if rules:
        text += "    quality:\n"
    for number, rule in enumerate(rules):
        row = f'type: custom, engine: lakehouse, implementation: {{row: "{rule}"}}'
        text += f"      - {{name: rule_{number}, {row}, severity: error}}\n"
    return f"{text}customProperties:\n  - {{property: load, value: {load}}}\n"


def _as_lines(csv: Path, file: Path, rows: int) -> None:
    """The first `rows` as JSON lines; of a hundred one breaks the contract."""
    file.parent.mkdir(parents=True)
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        connection.execute(
            f"COPY (SELECT * REPLACE (if(l_partkey % 100 = 0, NULL, l_quantity) AS l_quantity),"
            f" timestamptz '2026-01-01 00:00:00+00' AS updated_at"
            f" FROM read_csv({literal(str(csv))}) LIMIT {rows}) TO {literal(str(file))} (FORMAT json)"
        )
