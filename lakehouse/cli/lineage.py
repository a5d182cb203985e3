"""`lakehouse table lineage`: a column, and below it the columns it is computed from, back to the source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.tree import Tree

from lakehouse.cli.output import out, show_json
from lakehouse.errors import SettingsError
from lakehouse.settings import load_settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.transform.lineage import Columns


def show_lineage(column: str, *, as_json: bool) -> None:
    """Print the tree of one column. Raises SettingsError for a column that no contract has."""
    from lakehouse.orchestration.lineage import project_lineage
    from lakehouse.orchestration.project import ready_models

    settings = load_settings()
    declarations = ready_models(settings)
    name, wanted = _parse(column, declarations)
    lineage = project_lineage(settings, declarations)
    if as_json:
        show_json(_nested(name, wanted, lineage, declarations))
    else:
        out.print(_grown(_nested(name, wanted, lineage, declarations)))


def _parse(text: str, declarations: Declarations) -> tuple[TableName, str]:
    table, _, column = text.rpartition(".")
    name = TableName.parse(table)
    columns = [c.name for c in declarations[name].stored_columns] if name in declarations else []
    if column not in columns:
        raise SettingsError(
            f"there is no column {text}",
            expected=f"a column of {name}: {', '.join(columns)}" if columns else "<layer>.<table>.<column>",
            remedy="Run `lakehouse table show NAME` for the columns of a table.",
        )
    return name, column


def _nested(
    name: TableName, column: str, lineage: dict[TableName, Columns], declarations: Declarations
) -> dict[str, list[object]]:
    sources = sorted(lineage.get(name, {}).get(column, ()))
    below: list[object] = [_nested(source, origin, lineage, declarations) for source, origin in sources]
    load = declarations[name].load if name in declarations else None
    if load and not column.startswith("_"):
        where = load.options.get("table") or load.options.get("files") or load.options.get("path")
        below = [{f"{load.source}: {where} . {column}": []}]
    return {f"{name}.{column}": below}


def _grown(node: dict[str, list[object]]) -> Tree:
    ((label, children),) = node.items()
    tree = Tree(label)
    for child in children:
        if isinstance(child, dict):
            tree.add(_grown(child))
    return tree
