"""`lakehouse check`: whether the contracts and the models fit together."""

from __future__ import annotations

from lakehouse.cli.output import AsJson, out, show_json
from lakehouse.settings import load_settings


def check(*, as_json: AsJson = False) -> None:
    """Compile every contract and parse every model; the manifest that the UI loads is brought up to date."""
    from lakehouse.contracts import read_tables
    from lakehouse.transform.project import parse

    settings = load_settings()
    declarations = read_tables(settings.defs)
    manifest = parse(settings)
    if as_json:
        show_json({"tables": [str(name) for name in declarations], "manifest": manifest})
    else:
        out.print(f"{len(declarations)} contracts compile, and the models fit them.")
