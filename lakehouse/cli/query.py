"""`lakehouse query`: read-only SQL over every table of the lake, by DuckDB."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_rows
from lakehouse.errors import QueryError
from lakehouse.settings import load_settings


def query(
    sql: Annotated[str, typer.Argument(help='SQL, e.g. "select * from gold.daily_revenue limit 10".')],
    *,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    branch: Annotated[str | None, typer.Option(help="Read this branch where a table has it.")] = None,
    at: Annotated[
        str | None, typer.Option(help="Read a tag where a table has it, or a time: 2026-01-31T03:00Z.")
    ] = None,
) -> None:
    """Run a read-only query over the lake: tables are named as everywhere, e.g. silver.orders."""
    from lakehouse.iceberg import MAIN, parse_at
    from lakehouse.iceberg.query import run_query

    if branch is not None and at is not None:
        raise QueryError("--branch and --at both say what to read", remedy="Give one of them.")
    wanted = parse_at(at) if at is not None else branch or MAIN
    if isinstance(wanted, int):
        raise QueryError(f"{wanted} is a snapshot of one table", remedy="Give a time, which all tables have.")
    rows = run_query(load_settings(), sql, at=wanted)
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in rows.columns), strict=True))
        return
    show_rows(rows.to_pylist(), as_json=as_json)
    if not as_json:
        out.print(f"{rows.num_rows:,} rows", style="dim")
