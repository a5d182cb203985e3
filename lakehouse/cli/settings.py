"""`lakehouse settings show`: what is in force, secrets masked."""

from __future__ import annotations

import typer

from lakehouse.cli.output import AsJson, show_facts, show_json
from lakehouse.settings import load_settings

app = typer.Typer(help="What is configured.", no_args_is_help=True)


@app.callback()
def _settings() -> None:
    """What is configured."""


@app.command()
def show(*, as_json: AsJson = False) -> None:
    """Print every setting in force, with secrets masked."""
    values = load_settings().model_dump(mode="json")
    if as_json:
        show_json(values)
    else:
        show_facts(_flat(values))


def _flat(values: object, prefix: str = "") -> list[tuple[str, object]]:
    if isinstance(values, dict):
        return [pair for key, value in values.items() for pair in _flat(value, f"{prefix}.{key}" if prefix else key)]
    if isinstance(values, list):
        return [(prefix, ", ".join(map(str, values)))]
    return [(prefix, values if values is None or isinstance(values, bool) else str(values))]
