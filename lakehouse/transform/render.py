"""Contracts as dbt's YAML: sources for bronze, and for each silver and gold model all that its contract states.

A model's SQL file holds its SQL and nothing else; what stands here is written to `models/_generated`, never by hand.
Beside it go the macros that every project shares, to `macros/_generated`, so that a project gets newer ones with the
package. A project's own macros lie in `macros/`. What becomes of a contract's rules is `rule_tests.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from lakehouse.contracts import Declarations
from lakehouse.errors import ContractError, TransformError
from lakehouse.tables import Column, Layer, Table
from lakehouse.transform.rule_tests import as_text, audits, rendered_rules

GENERATED = "_generated"
MACROS = Path(__file__).with_name("macros")
"""Materializations, names, windows and generic tests: what makes a dbt project write to the lake."""
_MODELLED = (Layer.SILVER, Layer.GOLD)
_HEAD = "# Rendered from {files}. Changes here are lost: change the contract.\n"


def render(declarations: Declarations, dbt: Path) -> tuple[Path, ...]:
    """Bring `models/_generated` and `macros/_generated` of the dbt project up to date; the paths written or removed.

    Files whose content has not changed are not touched, so that dbt parses only what has. Raises ContractError for a
    silver or gold contract without SQL, TransformError for SQL in silver or gold without a contract and for two models
    of one name.
    """
    models = dbt / "models"
    _check_files(declarations, models)
    macros = dbt / "macros" / GENERATED
    wanted = {models / GENERATED / path: text for path, text in rendered(declarations).items()}
    wanted |= {macros / file.name: file.read_text(encoding="utf-8") for file in sorted(MACROS.glob("*.sql"))}
    changed = [path for path, text in wanted.items() if _write(path, text)]
    generated = (*(models / GENERATED).rglob("*.yml"), *macros.rglob("*.sql"))
    stale = [path for path in generated if path not in wanted]
    for path in stale:
        path.unlink()
    return (*changed, *stale)


def rendered(declarations: Declarations) -> dict[str, str]:
    """Text by path relative to the folder of generated files. Pure."""
    tables = sorted(declarations.values(), key=lambda table: table.name)
    bronze = [table for table in tables if table.name.layer is Layer.BRONZE]
    texts = {"sources.yml": _dump(_sources(bronze), bronze)}
    for table in tables:
        if table.name.layer in _MODELLED:
            path = f"{table.domain}/{table.name.layer}/{table.name.table}.yml"
            texts[path] = _dump({"models": [_model(table)]}, [table])
    return texts


def model_file(table: Table) -> Path:
    """Where a table's SQL lies, relative to the folder of models."""
    return Path(table.domain) / table.name.layer / f"{table.name.table}.sql"


def _sources(tables: Iterable[Table]) -> dict[str, Any]:
    return {
        "sources": [
            {
                "name": Layer.BRONZE.value,
                "database": "memory",
                "schema": Layer.BRONZE.value,
                "tables": [
                    {
                        "name": table.name.table,
                        "description": as_text(table.description),
                        "columns": [_column(column) for column in table.stored_columns],
                    }
                    for table in tables
                ],
            }
        ]
    }


def _model(table: Table) -> dict[str, Any]:
    on_column, on_table = rendered_rules(table)
    on_table = [*audits(table), *on_table]
    return {
        "name": table.name.table,
        "description": as_text(table.description),
        "config": {
            "materialized": "iceberg",
            "schema": table.name.layer.value,
            "tags": [table.domain, table.name.layer.value],
            "unique_key": list(table.primary_key),
            "meta": {
                "contract_version": table.version,
                "owners": list(table.owners),
                "strategy": table.strategy.value,
                **({"window_column": table.window_column} if table.window_column else {}),
                **({"tags": dict(table.tags)} if table.tags else {}),
            },
        },
        "columns": [_column(column, on_column.get(column.name, [])) for column in table.stored_columns],
        **({"data_tests": on_table} if on_table else {}),
    }


def _column(column: Column, tests: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "name": column.name,
        "description": as_text(column.description),
        "data_type": column.type,
        **({"config": {"tags": ["personal"]}} if column.personal else {}),
        **({"data_tests": tests} if tests else {}),
    }


def _dump(content: Mapping[str, Any], tables: Iterable[Table]) -> str:
    files = ", ".join(f"{table.domain}/{table.name.layer}/{table.file.name}" for table in tables)
    body = yaml.safe_dump({"version": 2, **content}, sort_keys=False, allow_unicode=True, width=120)
    return _HEAD.format(files=files or "no contract") + body


def _write(path: Path, text: str) -> bool:
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")  # dbt reads no such files, should it look in between
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
    return True


def _check_files(declarations: Declarations, models: Path) -> None:
    expected: dict[Path, Table] = {}
    for table in declarations.values():
        if table.name.layer in _MODELLED:
            expected[model_file(table)] = table
            if not (models / model_file(table)).is_file():
                raise ContractError(
                    f"{table.file}:1: {table.name} has no model",
                    expected=f"SQL in {models / model_file(table)}",
                    remedy="Write the model, or remove the contract.",
                )
    for file in sorted(models.rglob("*.py")):
        raise TransformError(
            f"{file}: models in Python are not supported",
            expected="SQL, whose rows go straight into Iceberg; what Python yields is lost with dbt's process",
            remedy="Write the model in SQL, or load its result as a source.",
        )
    names: dict[str, Path] = {}
    for file in sorted(models.rglob("*.sql")):
        path = file.relative_to(models)
        if len(path.parts) > 1 and path.parts[-2] in set(_MODELLED) and path not in expected:
            raise TransformError(
                f"{file}: the model has no contract",
                expected=f"a contract {'/'.join(path.with_suffix('.yaml').parts)} in one of the folders of definitions",
                remedy="Write the contract, or move the model to a folder of views.",
            )
        if file.stem in names:
            raise TransformError(
                f"two models are called {file.stem}: {names[file.stem]} and {path}",
                expected="a name of its own for each model, whatever its layer",
                remedy="Rename one of them, with its contract.",
            )
        names[file.stem] = path
