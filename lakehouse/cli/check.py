"""`lakehouse check`: whether the contracts and the models fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from lakehouse.cli.output import AsJson, out, show_json
from lakehouse.settings import load_settings

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.transform.manifest import Manifest


def check(*, as_json: AsJson = False) -> None:
    """Compile every contract and parse every model; the manifest that the UI loads is brought up to date."""
    from lakehouse.contracts import read_tables
    from lakehouse.transform.manifest import Manifest
    from lakehouse.transform.project import parse

    settings = load_settings()
    declarations = read_tables(settings.defs)
    manifest = parse(settings)
    findings = list(_findings(declarations, Manifest.read(manifest)))
    if as_json:
        show_json({"tables": [str(name) for name in declarations], "manifest": manifest, "findings": findings})
    else:
        out.print(f"{len(declarations)} contracts compile, and the models fit them.")
        for finding in findings:
            out.print(finding, markup=False)
    if findings:
        raise typer.Exit(1)


def _findings(declarations: Declarations, manifest: Manifest) -> Iterator[str]:
    """Daily tables of which nobody has said when to compute a day anew, or has said it in vain."""
    from lakehouse.changes import unread, unstated

    parents = {name: manifest.parents(name) for name in declarations if name in manifest.by_table}
    for edge in unstated(declarations, parents):
        stated = f"{{property: follows, value: [{{table: {edge.upstream}, days: all}}]}}"
        yield (
            f"{declarations[edge.reader].file}: {edge.reader} reads {edge.upstream}, and nothing says which of its days"
            f" a change there touches, so that every change has all of them computed anew. State it as {stated}, with"
            " `all`, `none`, `same` or a SELECT of days over the relation `changes`."
        )
    for edge in unread(declarations, parents):
        yield (
            f"{declarations[edge.reader].file}: `follows` of {edge.reader} names {edge.upstream}, which its model does"
            " not read. Remove the entry."
        )
