"""`lakehouse quality report|check|docs`: how the rules of contracts stand, now and at the last run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import AsJson, err, out, plain, show_json, show_rows
from lakehouse.errors import StateError, TableMissing
from lakehouse.settings import load_settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.quality.finding import Finding
    from lakehouse.quality.report import Report, Result

app = typer.Typer(help="How the rules of contracts stand.", no_args_is_help=True)
_STDOUT = "-"
_FINDINGS = 1
"""Exit code."""


@app.command()
def report(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TABLE]...", help="Only these tables.")] = None,
    *,
    html: Annotated[str | None, typer.Option(metavar="FILE", help="Write a page; - prints it.")] = None,
    as_json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write JSON, for programs; - prints it.")
    ] = None,
) -> None:
    """Print the last result of every rule, failures first; exit code 1 when a blocking rule does not hold."""
    from lakehouse.contracts import read_tables
    from lakehouse.quality.report import report as last_results
    from lakehouse.quality.report import report_json
    from lakehouse.quality.report_page import draw_report

    settings = load_settings()
    declarations = read_tables(settings.defs)
    whole = last_results(settings, declarations, names=_names(names or (), declarations))
    if as_json is not None:
        _write(as_json, json.dumps(report_json(whole), default=plain, indent=2, ensure_ascii=False))
    if html is not None:
        _write(html, draw_report(whole))
    if _STDOUT not in {as_json, html}:
        _show(whole, every=bool(names))
    if whole.blocked:
        raise typer.Exit(_FINDINGS)


@app.command()
def check(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table, e.g. silver.orders.")],
    *,
    branch: Annotated[str | None, typer.Option(help="Judge this branch of the table instead of main.")] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a table now and record nothing; exit code 1 when a blocking rule does not hold."""
    from lakehouse.contracts import read_tables
    from lakehouse.iceberg import MAIN, Lake
    from lakehouse.quality.gate import Gate

    settings = load_settings()
    declarations = read_tables(settings.defs)
    (wanted,) = _names([name], declarations)
    lake = Lake.open(settings)
    at = _branch(lake.table(wanted).branches(), wanted, branch) if branch is not None else MAIN
    with err.status(f"judging {wanted}"):
        findings = Gate(settings, lake, declarations).audit(wanted, at=at)
    if as_json:
        show_json([{**_finding(one), "sample": one.sample, "sql": one.sql} for one in findings])
    else:
        _explain(wanted, findings, at)
    if any(one.blocks for one in findings):
        raise typer.Exit(_FINDINGS)


@app.command()
def docs(*, as_json: AsJson = False) -> None:
    """Print where the data docs are: their address while `lakehouse ui` serves them, and their file."""
    from lakehouse.quality.docs import INDEX
    from lakehouse.services.pages import page_url, pages_folder

    settings = load_settings()
    file = pages_folder(settings) / INDEX
    url = page_url(settings, INDEX)
    if as_json:
        show_json({"url": url, "file": str(file), "written": file.exists()})
    elif not file.exists():
        out.print("No data docs yet: a run that judges tables writes them.", style="dim")
    else:
        out.print(url or file, highlight=False)


def _show(whole: Report, *, every: bool) -> None:
    """Rules that do not hold, or every one, and how many do of each table."""
    from lakehouse.quality.report_page import percent

    if not whole.results:
        out.print("Nothing was judged yet: a run that publishes judges first.", style="dim")
        return
    listed = [_result(one) for one in whole.results if every or not one.passed]
    if listed:
        show_rows(listed, as_json=False)
        out.print()
    rows = [
        {
            "table": str(table.table),
            "rules": len(table.results),
            "hold": sum(result.passed for result in table.results),
            "share": percent(table.share_passed),
            "not judged yet": len(table.unjudged),
            "last judged": f"{max(result.at for result in table.results):%Y-%m-%d %H:%M}",
        }
        for table in whole.tables
        if table.results
    ]
    show_rows(rows, as_json=False)
    passed = sum(result.passed for result in whole.results)
    share = percent(whole.share_passed)
    out.print(f"\n{passed:,} of {len(whole.results):,} rules hold ({share}).", style="bold")


def _result(one: Result) -> dict[str, object]:
    from lakehouse.quality.report_page import percent

    return {
        "result": one.outcome,
        "severity": one.severity,
        "rule": f"{one.table}.{one.rule}",
        "observed": one.observed,
        "rows that pass": percent(one.share_passed),
        "judged": f"{one.at:%Y-%m-%d %H:%M}",
    }


def _finding(one: Finding) -> dict[str, object]:
    return {
        "rule": one.rule,
        "severity": one.severity,
        "result": one.outcome,
        "observed": one.observed,
        "rows": one.rows,
        "failed": one.failed,
    }


def _explain(table: TableName, findings: Sequence[Finding], at: str) -> None:
    if not findings:
        out.print(f"The contract of {table} has no rules.", style="dim")
        return
    show_rows([_finding(one) for one in findings], as_json=False)
    broken = [one for one in findings if not one.passed]
    for one in broken:
        out.print(f"\n{one}\n{one.sql}".rstrip(), style="dim", markup=False, highlight=False)
    if broken:
        out.print(f'\nSee the rows: lakehouse query --branch {at} "..."', style="dim", highlight=False)


def _names(names: Sequence[str], declarations: Declarations) -> list[TableName]:
    wanted = [TableName.parse(name) for name in names]
    for name in wanted:
        if name not in declarations:
            raise TableMissing(
                f"no contract declares {name}", remedy="Run `lakehouse table list` for the tables there are."
            )
    return wanted


def _branch(branches: Sequence[str], table: TableName, wanted: str) -> str:
    from lakehouse.errors import BranchMissing
    from lakehouse.iceberg import MAIN

    if wanted != MAIN and wanted not in branches:
        raise BranchMissing(
            f"{table} has no branch {wanted}",
            found=", ".join(branches) or "none beside main",
            remedy="Run `lakehouse branch list` for those there are.",
        )
    return wanted


def _write(file: str, text: str) -> None:
    if file == _STDOUT:
        typer.echo(text)
        return
    try:
        Path(file).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"{file} cannot be written", found=error.strerror, remedy="Name a file in a folder that is there."
        ) from None
