"""`lakehouse contract`: whether contracts compile, and what a change of one means for those who read its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from lakehouse.cli.output import AsJson, err, out, show_json
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.contracts.difference import Difference
    from lakehouse.contracts.mistakes import Mistake

app = typer.Typer(help="Check contracts, and compare their versions.", no_args_is_help=True)

Files = Annotated[
    list[Path] | None,
    typer.Argument(help="Show the mistakes of these files only; of all contracts of the project when none is named."),
]


@app.command()
def check(files: Files = None, *, as_json: AsJson = False) -> None:
    """Compile every contract and list each mistake with file, line, path and what was expected. Exit 1 for any."""
    from lakehouse.contracts.mistakes import find_mistakes

    settings = load_settings()
    wanted = {_below(settings.defs, file) for file in files or ()}
    mistakes = [one for one in find_mistakes(settings.defs) if not wanted or one.file.resolve() in wanted]
    if as_json:
        show_json(mistakes)
    else:
        for mistake in mistakes:
            _show(mistake)
        if not mistakes:
            out.print(f"{len(wanted)} contracts compile." if wanted else "Every contract compiles.")
    raise typer.Exit(1 if mistakes else 0)


def _below(folders: Sequence[Path], file: Path) -> Path:
    path = file.resolve()
    if not path.is_file() or not any(path.is_relative_to(folder.resolve()) for folder in folders):
        raise SettingsError(
            f"{file} is no contract of this project",
            expected=f"a file below {', '.join(map(str, folders))}",
            remedy="Name such files, or none for all of them.",
        )
    return path


def _show(mistake: Mistake) -> None:
    """The first line is what editors and CI turn into a link."""
    here = Path.cwd()
    file = mistake.file.relative_to(here) if mistake.file.is_relative_to(here) else mistake.file
    path = f" {mistake.path}:" if mistake.path else ""
    text = Text.assemble((f"{file}:{mistake.line}:{path} {mistake.problem}", "bold red"))
    for label, value in (("expected", mistake.expected), ("found", mistake.found)):
        if value is not None:
            text.append(f"\n  {label:<9} {value}")
    text.append(f"\n  {mistake.remedy}", style="bold")
    err.print(text)


Old = Annotated[Path, typer.Argument(help="The contract, or the folder of contracts, as readers know it.")]
New = Annotated[Path, typer.Argument(help="The same as it is to be.")]


@app.command()
def diff(old: Old, new: New, *, as_json: AsJson = False) -> None:
    """List what changes for those who read a table. Exit 1 when something breaks.

    An earlier version of a file comes from git: `git show main:defs/shop/gold/sales.yaml > /tmp/old.yaml`, of all
    files by `git worktree add /tmp/old main`.
    """
    from lakehouse.contracts.diff_versions import compare_versions

    found = list(compare_versions(old, new))
    if as_json:
        show_json([{"table": str(name), **asdict(one)} for name, differences in found for one in differences])
    else:
        for name, differences in found:
            out.print(Text(str(name), style="bold"))
            for one in sorted(differences, key=lambda one: not one.breaking):
                _show_difference(one)
        if not found:
            out.print("Nothing differs.")
    raise typer.Exit(1 if any(one.breaking for _, differences in found for one in differences) else 0)


def _show_difference(one: Difference) -> None:
    verdict = ("  breaking    ", "bold red") if one.breaking else ("  compatible  ", "green")
    change = f": {one.change}" if one.change else ""
    out.print(Text.assemble(verdict, f"{one.subject} {one.move}{change}", (f"  ({one.reason})", "dim")))
