"""`lakehouse query`: read-only SQL over every table of the lake, by DuckDB."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_rows
from lakehouse.settings import load_settings


def query(
    sql: Annotated[str, typer.Argument(help='SQL, e.g. "select * from gold.daily_revenue limit 10".')],
    *,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    branch: Annotated[str | None, typer.Option(help="Read this branch where a table has it.")] = None,
) -> None:
    """Run a read-only query over the lake: tables are named as everywhere, e.g. silver.orders."""
    from lakehouse.iceberg.query import run_query

    rows = run_query(load_settings(), sql, branch=branch)
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(rows.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in rows.columns), strict=True))
        return
    show_rows(rows.to_pylist(), as_json=as_json)
    if not as_json:
        out.print(f"{rows.num_rows:,} rows", style="dim")
