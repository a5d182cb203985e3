"""A generated project of many daily tables over years: chains of one loaded table and several models, all built.

Its rows are few and its days many: what is measured over it (`windows.py`) looks at metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from assets_tests.projects import head
from lakehouse.changes.advance import advanced
from lakehouse.changes.edges import edges_of
from lakehouse.contracts import Declarations, read_tables
from lakehouse.iceberg import Lake, connect
from lakehouse.scaffold.project import new_project, write_project
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Layer, TableName
from lakehouse.transform.manifest import Manifest

START = date(2023, 1, 1)
MODELS = 4
"""Daily models above each loaded table: one of silver, the others of gold."""
_COLUMNS = """\
      - {{name: day, logicalType: date, primaryKey: true, required: true, description: The day}}
      - {{name: amount, logicalType: integer, required: true, description: How much}}
customProperties:
  - {{property: window, value: {{column: day, start: {start}}}}}
  - {written}
"""
_LOADED = '{{property: load, value: {{source: landing, files: "{name}/*.jsonl"}}}}'
_MODEL = "select day, amount from {parent} where {{{{ in_window('day') }}}}\n"
_SOURCE = '\n[tool.lakehouse.sources.landing]\nkind = "files"\nroot = "landing"\nsettle = 0\n'


def write(folder: Path, tables: int) -> Settings:
    """The files of a project with so many daily tables; its lake is a folder with SQLite."""
    project = folder / "project"
    files = dict(new_project(project, "bench"))
    files[project / "pyproject.toml"] += _SOURCE
    for chain in range(tables // (MODELS + 1)):
        for layer, name, parent in _chain(chain):
            written = _LOADED.format(name=name) if layer == "bronze" else "{property: strategy, value: overwrite}"
            text = head("bench", layer, name, "A row a day.") + _COLUMNS.format(start=START, written=written)
            files[project / "defs" / "bench" / layer / f"{name}.yaml"] = text
            if parent:
                files[project / "dbt" / "models" / "bench" / layer / f"{name}.sql"] = _MODEL.format(parent=parent)
    write_project(files)
    state = folder / "state"
    state.mkdir()
    catalog = {"uri": f"sqlite:///{state}/catalog.db"}
    return load_settings(project, state=str(state), catalog=catalog)


def _chain(number: int) -> list[tuple[str, str, str]]:
    """Layer, name and parent of each table of a chain."""
    loaded, cleaned = f"loaded_{number:02}", f"cleaned_{number:02}"
    gold = [("gold", f"summed_{number:02}_{model}", f"{{{{ ref('{cleaned}') }}}}") for model in range(1, MODELS)]
    return [("bronze", loaded, ""), ("silver", cleaned, f"{{{{ source('bronze', '{loaded}') }}}}"), *gold]


def fill(settings: Settings, parents: Mapping[TableName, frozenset[TableName]], days: int) -> None:
    """A row of each of so many days in every table, each built from the ones that it reads."""
    lake, declared = Lake.open(settings), read_tables(settings.defs)
    order = sorted(declared, key=lambda name: (list(Layer).index(name.layer), name))
    with connect(settings) as connection:
        for name in order:
            table = lake.create(declared[name])
            rows = _rows([START + timedelta(days=day) for day in range(days)], table.schema())
            if name.layer is Layer.BRONZE:
                table.append(rows, run_key="first")
                continue
            edges = edges_of(declared[name], parents[name], declared)
            read = {parent: lake.table(parent).snapshots()[0].id for parent in parents[name]}
            progress, expected = advanced(lake, connection, edges, window=None, read=read)
            table.overwrite(rows, where=None, run_key="first", progress=progress, expected_progress=expected)


def late_rows(settings: Settings, declared: Declarations, days: list[date], run_key: str) -> int:
    """Rows of these days come to every loaded table. How many tables that are."""
    loaded = [name for name in declared if name.layer is Layer.BRONZE]
    for name in loaded:
        table = Lake.open(settings).table(name)
        table.append(_rows(days, table.schema()), run_key=run_key)
    return len(loaded)


def parents_of(manifest: Manifest, declared: Declarations) -> dict[TableName, frozenset[TableName]]:
    """What each model reads."""
    return {name: manifest.parents(name) for name in declared if name.layer is not Layer.BRONZE}


def _rows(days: list[date], schema: pa.Schema) -> pa.Table:
    now = datetime.now(UTC)
    nothing = {"_source_version": None, "_extra": None}
    values = {"_extracted_at": now, "_source": "bench", "_run_key": "bench", "amount": 1, **nothing}
    return pa.Table.from_pylist(
        [{name: day if name == "day" else values[name] for name in schema.names} for day in days], schema=schema
    )
