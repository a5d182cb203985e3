"""How results look: a table for people, JSON for programs, one panel for an error. No command belongs here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lakehouse.errors import LakehouseError

if TYPE_CHECKING:
    from lakehouse.orchestration.demo import Outcome

_NARROWEST = 120
out = Console(soft_wrap=True)
# What reads a pipe or a log file has no width; a table cut at 80 columns would be of no use there.
out.width = out.width if out.is_terminal else max(out.width, _NARROWEST)
err = Console(stderr=True, soft_wrap=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
"""The option that every command which prints has."""


def show_rows(rows: Sequence[Mapping[str, Any]], *, as_json: bool, title: str | None = None) -> None:
    """Rows of equal keys, as a grid or as a JSON list."""
    if as_json:
        show_json(rows)
        return
    if not rows:
        out.print("Nothing there yet.", style="dim")
        return
    grid = Grid(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name, value in rows[0].items():
        grid.add_column(name, justify="right" if isinstance(value, int | float) else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row.values()))
    out.print(grid)


def show_json(value: object) -> None:
    """A value as indented JSON on standard output."""
    typer.echo(json.dumps(value, default=plain, indent=2, ensure_ascii=False))


def show_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Name and value, a line each."""
    grid = Grid(box=None, show_header=False, pad_edge=False)
    grid.add_column(style="bold")
    grid.add_column()
    for name, value in facts:
        grid.add_row(name, _cell(value))
    out.print(grid)


def show_error(error: LakehouseError) -> None:
    """What is wrong, expected and found, and what to do."""
    text = Text.assemble(("error ", "bold red"), error.what)
    if error.expected is not None:
        text.append(f"\n  expected  {error.expected}")
    if error.found is not None:
        text.append(f"\n  found     {error.found}")
    text.append(f"\n  {error.remedy}", style="bold")
    err.print(text)


def show_failures(outcome: Outcome) -> None:
    """Checks that did not pass, then what stopped which steps; a reason that stopped several is said once."""
    for (name, check), (passed, severity) in outcome.checks.items():
        if not passed:
            err.print(Text(f"{'warning' if severity == 'WARN' else 'failed '}  {name}: {check}", style="red"))
    for reason, steps in outcome.reasons().items():
        err.print(Text.assemble(("error ", "bold red"), f"{', '.join(steps)}: {reason}"))


def plain(value: object) -> object:
    """What `json` cannot write, as something it can: dates as ISO text, decimals with a fraction as exact text."""
    match value:
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case Decimal():
            # DuckDB's sums of integers are decimals without a fraction.
            return int(value) if value.as_tuple().exponent == 0 else str(value)
        case bytes():
            return value.hex()
        case _ if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
    return str(value)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    return str(value)
