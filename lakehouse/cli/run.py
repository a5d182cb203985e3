"""`lakehouse run`: materialize tables in the project's Dagster instance, as the UI would, and say what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lakehouse.cli.output import AsJson, err, show_failures, show_json, show_rows
from lakehouse.errors import SettingsError
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Layer, TableName, Window
from lakehouse.telemetry import Progress, listening

if TYPE_CHECKING:
    import dagster as dg

    from lakehouse.contracts import Declarations
    from lakehouse.orchestration.demo import Outcome, TableFigures
    from lakehouse.orchestration.runs import Reread

DAY = ["%Y-%m-%d"]
"""How options that name a day are written."""
# The first parts of the keys of all assets but staging views.
_NO_VIEWS = {Layer.BRONZE.value, Layer.SILVER.value, Layer.GOLD.value, "changes", "source", "upkeep"}


def run(
    names: Annotated[list[str], typer.Argument(help="Tables, e.g. silver.orders gold.daily_revenue.")],
    *,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=DAY, help="First day, for tables that are built by days.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=DAY, help="Last day, inclusive; default: the first.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Load and build tables, in the order of their layers; staging views that they read are made too."""
    settings = load_settings()
    wanted = [TableName.parse(name) for name in names]
    outcome = run_tables_now(settings, wanted, window_of(first, last))
    show_outcome(settings, outcome, as_json=as_json)


def run_tables_now(
    settings: Settings,
    names: Sequence[TableName],
    window: Window | None = None,
    *,
    staging: bool = False,
    reread: Reread | None = None,
) -> Outcome:
    """Bronze tables in one run, silver and gold ones in the next; the second only if the first went well.

    With `staging`, the bronze tables' own staging views are made too; `reread` is what they read again. Raises
    SettingsError for a name that no contract declares, and for a table built by days without a window.
    """
    from lakehouse.contracts import read_tables
    from lakehouse.orchestration.demo import Outcome
    from lakehouse.orchestration.home import open_instance
    from lakehouse.orchestration.project import definitions, prepare, warm
    from lakehouse.orchestration.runs import run_tables

    with err.status("reading contracts and models") as status:
        # A name that is wrong is said before anything is started for it.
        declarations = read_tables(settings.defs)
        _check(declarations, names, window)
        warm(settings)
        prepare(settings)
        defs = definitions(settings)
        outcome = Outcome()
        bronze = [name for name in names if name.layer is Layer.BRONZE]
        models = [name for name in names if name.layer is not Layer.BRONZE]
        with open_instance(settings) as instance, listening(lambda step: status.update(_sentence(step))):
            status.update("starting")
            own = staging_models(defs, bronze) if staging else []
            if bronze and not outcome.add(run_tables(defs, instance, bronze, also=own, reread=reread)):
                return outcome
            views = staging_views(defs, models)
            if models:
                windowed = any(declarations[name].windowed for name in models)
                outcome.add(run_tables(defs, instance, models, also=views, window=window if windowed else None))
    return outcome


def staging_views(defs: dg.Definitions, names: Iterable[TableName]) -> list[dg.AssetKey]:
    """The views that these tables read, directly or through other views."""
    specs = {spec.key: spec for spec in defs.resolve_all_asset_specs()}
    waiting = [spec for key, spec in specs.items() if ".".join(key.path) in {str(name) for name in names}]
    found: dict[dg.AssetKey, None] = {}
    while waiting:
        for dep in waiting.pop().deps:
            key = dep.asset_key
            if key in specs and key not in found and key.path[0] not in _NO_VIEWS:
                found[key] = None
                waiting.append(specs[key])
    return list(found)


def staging_models(defs: dg.Definitions, names: Iterable[TableName]) -> list[dg.AssetKey]:
    """The staging views that read these bronze tables and nothing else."""
    tables = {tuple(name.key) for name in names}
    return [
        spec.key
        for spec in defs.resolve_all_asset_specs()
        if spec.key.path[0] not in _NO_VIEWS and {tuple(dep.asset_key.path) for dep in spec.deps} <= tables
    ]


def show_outcome(settings: Settings, outcome: Outcome, *, as_json: bool, more: Mapping[str, Any] | None = None) -> None:
    """Rows and checks of each table, then what failed; exit 1 for findings, 2 for errors. `more` goes into the JSON."""
    from lakehouse.orchestration.demo import summary

    figures = summary(settings, outcome)
    rows = [_row(settings, outcome, entry) for entry in figures["tables"]]
    urls = [f"http://{settings.ui.host}:{settings.ui.port}/runs/{run_id}" for run_id in outcome.runs]
    if as_json:
        show_json(
            {
                **(more or {}),
                **figures,
                "tables": rows,
                "failures": [str(failure) for failure in outcome.failures],
                "runs": urls,
            }
        )
    elif rows:
        show_rows(rows, as_json=False)
    show_failures(outcome)
    if not as_json:
        err.print(f"In the UI (`lakehouse ui`): {' '.join(urls)}", style="dim")
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def _row(settings: Settings, outcome: Outcome, entry: TableFigures) -> dict[str, Any]:
    from lakehouse.contracts import read_tables
    from lakehouse.iceberg import Lake
    from lakehouse.ingest import waiting

    name = TableName.parse(entry["table"])
    table = read_tables(settings.defs)[name]
    kept = waiting(Lake.open(settings), table).total() if name.layer is Layer.BRONZE else 0
    return {
        "table": entry["table"],
        "rows": entry["rows"],
        "quarantined": kept,
        "files": entry["files"],
        "seconds": entry["seconds"],
        **outcome.count(name),
    }


def _check(declarations: Declarations, names: Sequence[TableName], window: Window | None) -> None:
    for name in names:
        if name not in declarations:
            near = get_close_matches(str(name), map(str, declarations), n=1)
            raise SettingsError(
                f"no contract declares {name}",
                found=", ".join(map(str, declarations)) or "no contracts at all",
                remedy=f"Did you mean {near[0]}?" if near else "Add one: docs/add-a-table.md.",
            )
        if window is None and declarations[name].windowed:
            raise SettingsError(
                f"{name} is built by days",
                expected=f"days from {declarations[name].window_start} on",
                remedy="Say which: --from 2026-01-01 --to 2026-01-31.",
            )


def window_of(first: datetime | None, last: datetime | None) -> Window | None:
    """The days of `--from` and `--to`, both inclusive; one of them alone is one day. Raises SettingsError."""
    one = first or last
    if one is None:
        return None
    start, end = (first or one).date(), (last or one).date()
    if end < start:
        raise SettingsError(f"--to {end} lies before --from {start}", remedy="Exchange them.")
    return Window.of_days(start, end)


def _sentence(step: Progress) -> str:
    total = f" of {step.total:,}" if step.total else ""
    return f"{step.what}: {step.done:,}{total} {step.unit}"
