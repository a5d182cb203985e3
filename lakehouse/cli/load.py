"""`lakehouse load list|run`: what was loaded, with the balance of its rows; and loading, also what was read before."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import AsJson, show_json, show_rows
from lakehouse.cli.run import DAY, run_tables_now, show_outcome, window_of
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings
from lakehouse.tables import Layer, TableName

if TYPE_CHECKING:
    from lakehouse.ledger import LoadRecord

app = typer.Typer(help="Loads of bronze tables: the balance of each, and loading.", no_args_is_help=True)
_A_RUN = 1000
"""More loads than one run makes."""


@app.command("list")
def list_loads(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only this table; default: all.")] = None,
    *,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First add what `ops.loads` has not, out of the tables' snapshots.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the last loads: rows read = published + quarantined + seen. Exit code 1 when one is out of balance."""
    from lakehouse.iceberg import Lake
    from lakehouse.ledger import record_loads, recorded_loads

    lake = Lake.open(load_settings())
    table = None if name is None else _bronze(name)
    if rebuild:
        for one in lake.names():
            if one.layer is Layer.BRONZE and table in {None, one}:
                record_loads(lake, one)
    _show(loads := recorded_loads(lake, table, limit=limit), as_json=as_json)
    if any(load.difference for load in loads):
        raise typer.Exit(1)


@app.command()
def run(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A bronze table, e.g. bronze.orders.")],
    *,
    first: Annotated[datetime | None, typer.Option("--from", formats=DAY, help="Read again from this day on.")] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="The last day, inclusive; default: the first.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read again everything that the source has.")] = False,
    as_json: AsJson = False,
) -> None:
    """Load a bronze table, in a run of the project's Dagster instance: what is new, or days or all of it once more.

    What is read again adds only rows that the table does not have.
    """
    from lakehouse.iceberg import Lake
    from lakehouse.ledger import recorded_loads
    from lakehouse.orchestration.runs import Reread

    window, table = window_of(first, last), _bronze(name)
    if window is not None and full:
        raise SettingsError("--full reads every day again", remedy="Leave --from and --to out, or --full.")
    settings = load_settings()
    again = Reread(window) if window is not None or full else None
    outcome = run_tables_now(settings, [table], reread=again)
    loads = [
        load for load in recorded_loads(Lake.open(settings), table, limit=_A_RUN) if load.run_id in set(outcome.runs)
    ]
    if not as_json:
        _show(loads, as_json=False)
    show_outcome(settings, outcome, as_json=as_json, more={"loads": [_json(load) for load in loads]})


def _bronze(name: str) -> TableName:
    table = TableName.parse(name)
    if table.layer is not Layer.BRONZE:
        raise SettingsError(
            f"{table} is not loaded from a source",
            expected="a bronze table",
            remedy=f"Build it: lakehouse run {table}, or lakehouse backfill {table}.",
        )
    return table


def _show(loads: tuple[LoadRecord, ...] | list[LoadRecord], *, as_json: bool) -> None:
    if as_json:
        show_json([_json(load) for load in loads])
        return
    rows: list[dict[str, Any]] = [
        {
            "table": str(load.table),
            "started (UTC)": f"{load.started_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            "again": load.reread,
            "read": load.rows_read,
            "published": load.rows_published,
            "quarantined": load.rows_quarantined,
            "seen": load.rows_seen,
            "difference": load.difference,
            "seconds": load.seconds,
            "retries": load.retries,
            "lag s": load.lag_seconds,
        }
        for load in loads
    ]
    show_rows(rows, as_json=False)


def _json(load: LoadRecord) -> dict[str, Any]:
    return {**asdict(load), "table": str(load.table), "difference": load.difference}
