"""`lakehouse branch list|show|publish|discard`: work that is staged beside main, held back or not yet published."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_facts, show_json, show_rows
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings
from lakehouse.tables import TableName, Window

if TYPE_CHECKING:
    from lakehouse.iceberg import BranchState, Lake, LakeTable

app = typer.Typer(help="Work that is staged beside main.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="TABLE", help="A table, e.g. silver.orders.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
Branch = Annotated[str, typer.Argument(help="One of `lakehouse branch list`.")]


@app.command("list")
def list_branches(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="Only of this table.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Print the branches of every table, with what each would bring to main."""
    lake = _lake()
    names = lake.names() if name is None else (TableName.parse(name),)
    rows = []
    for each in names:
        table = lake.table(each)
        rows += [{"table": str(each), **_figures(table.branch_state(branch))} for branch in table.branches()]
    if not rows and not as_json:
        out.print("No branches.", style="dim")
        return
    show_rows(rows, as_json=as_json)


@app.command()
def show(name: Name, branch: Branch, *, as_json: AsJson = False) -> None:
    """Print how a branch differs from main: snapshots, rows and files, by window where the table has windows."""
    table = _table(name)
    state = table.branch_state(branch)
    if as_json:
        windows = [{**asdict(one), "window": _window_text(one.window)} for one in state.windows]
        show_json({"table": str(table.name), **asdict(state), "windows": windows})
        return
    facts = _figures(state)
    show_facts([("table", table.name), *((key.replace("_", " "), value) for key, value in facts.items())])
    if state.windows:
        out.print()
        rows = [
            {
                "window": _window_text(one.window),
                "rows_added": one.rows_added,
                "rows_removed": one.rows_removed,
                "published": one.on_main,
            }
            for one in state.windows
        ]
        show_rows(rows, as_json=False)
    out.print(f'\nRead it: lakehouse query --branch {branch} "from {table.name}"', style="dim")


@app.command()
def publish(
    name: Name,
    branch: Branch,
    *,
    windows: Annotated[
        list[str] | None,
        typer.Option("--window", help="Only these days, both inclusive: 2026-01-01..2026-01-31. Repeatable."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Bring a branch, or some of its days, to main, as you judge it: no audit is run."""
    table = _table(name)
    wanted = [_window(text) for text in windows or ()]
    if dry_run:
        _say_what(table, table.branch_state(branch), "would be published", as_json=as_json)
        return
    commit = table.publish_windows(branch, wanted) if wanted else table.publish(branch)
    if as_json:
        show_json({**asdict(commit), "table": str(commit.table), "branches": table.branches()})
        return
    if commit.already_done:
        out.print(f"{table.name}: main holds this already, nothing was written.")
    else:
        out.print(
            f"{table.name}: published, {commit.rows_added:,} rows added and {commit.rows_removed:,} removed"
            f" (snapshot {commit.snapshot_id})."
        )
    if branch in table.branches():
        out.print(f"Branch {branch} keeps what is not published.")


@app.command()
def discard(name: Name, branch: Branch, *, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """Give a branch up. Main is not touched, and the work can be run again."""
    table = _table(name)
    state = table.branch_state(branch)
    if not dry_run:
        table.discard(branch)
    _say_what(table, state, "would be discarded" if dry_run else "discarded", as_json=as_json)


def _say_what(table: LakeTable, state: BranchState, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"table": str(table.name), **_figures(state), "what": what})
    else:
        rows = f"{state.rows_added:,} rows added and {state.rows_removed:,} removed"
        out.print(f"{table.name}: branch {state.branch} {what} ({rows} beside main).")


def _figures(state: BranchState) -> dict[str, object]:
    return {
        "branch": state.branch,
        "ahead": state.ahead,
        "behind": state.behind,
        "rows_added": state.rows_added,
        "rows_removed": state.rows_removed,
        "files_added": state.files_added,
        "files_removed": state.files_removed,
        "publishable": "as it is" if state.next else "on top of main" if state.appends_only else "by running it again",
        "run_keys": ", ".join(state.run_keys),
        "written_at": state.written_at,
    }


def _window(text: str) -> Window:
    first, dots, last = text.partition("..")
    try:
        return Window.of_days(date.fromisoformat(first), date.fromisoformat(last if dots else first))
    except ValueError:
        raise SettingsError(
            f"--window {text!r} is not a range of days", expected="e.g. 2026-01-01..2026-01-31", remedy="Mend it."
        ) from None


def _window_text(window: Window | None) -> str:
    if window is None:
        return "unknown days"
    *_, last = window.days
    return f"{window.start}..{last}"


def _lake() -> Lake:
    from lakehouse.iceberg import Lake

    return Lake.open(load_settings())


def _table(name: str) -> LakeTable:
    return _lake().table(TableName.parse(name))
