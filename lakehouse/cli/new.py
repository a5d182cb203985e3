"""`lakehouse new`: a project of one's own, which uses the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_json


def new(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    *,
    name: Annotated[str | None, typer.Option(help="What the project is called; default: as the folder is.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files, write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a project: settings, a place for contracts and for models."""
    from lakehouse.scaffold.project import new_project, write_project

    files = new_project(folder, name)
    if not dry_run:
        write_project(files)
    if as_json:
        show_json({"folder": folder.absolute(), "written": not dry_run, "files": [str(path) for path in files]})
        return
    for path in files:
        out.print(f"{'would write' if dry_run else 'wrote'}  {path}", style="dim")
    out.print(f"\nWhat next:\n  cd {folder}")
    out.print("  lakehouse add postgresql://user:password@host/database --domain sales    tables of a database")
    out.print("  lakehouse add path/to/file.csv --domain sales                            or of files")
