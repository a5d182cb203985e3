"""Which columns a column is computed from, read off the compiled SQL by sqlglot.

Lineage leads from a table to the tables its model reads, through views. Nothing is run, and nothing is guessed: a model
that sqlglot cannot follow has no column lineage.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlglot
import structlog
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

from lakehouse.tables import Layer, Table, TableName
from lakehouse.transform.manifest import ICEBERG, Manifest, Model

_log = structlog.get_logger(__name__)

Columns = dict[str, frozenset[tuple[TableName, str]]]
"""By column: the tables and columns it comes from, directly but for views."""

_DIALECT = "duckdb"
_Schema = dict[str, object]
_Packed = dict[str, list[list[str]]]


def column_lineage(
    manifest: Manifest, declarations: Mapping[TableName, Table], memory: Path | None = None
) -> dict[TableName, Columns]:
    """Lineage of every silver and gold table. Bronze columns have the names that their source gives them.

    `memory` is a JSON file beside the manifest that keeps what was found, by a hash of SQL and columns, so that only
    models that have changed are analysed.
    """
    known = _recall(memory)
    kept: dict[str, _Packed] = {}
    found: dict[TableName, Columns] = {}
    for name, model in sorted(manifest.by_table.items()):
        if model.materialized != ICEBERG or name not in declarations:
            continue
        views = dict(_views(model, manifest))
        schema = _schema(manifest.parents(name), declarations)
        columns = [column.name for column in declarations[name].columns]
        history = declarations[name].history
        computed = {} if history is None else history.computed
        key = _key(model.compiled_sql, views, schema, computed)
        packed = known.get(key)
        if packed is None:
            packed = _analyse(model, [column for column in columns if column not in computed], views, schema)
            packed |= _computed(packed, computed)
        kept[key] = packed
        found[name] = _unpack(packed)
    if memory is not None and kept != known:
        memory.write_text(json.dumps(kept), encoding="utf-8")
    return found


def _views(model: Model, manifest: Manifest) -> Iterable[tuple[str, str]]:
    """The SQL of the views a model reads, and of those that they read."""
    for parent in model.parents:
        view = manifest.models[parent]
        if view.table is None:
            yield view.label, view.compiled_sql
            yield from _views(view, manifest)


def _schema(names: Iterable[TableName], declarations: Mapping[TableName, Table]) -> _Schema:
    schema: dict[str, Any] = {}
    for name in sorted(names):
        if name in declarations:
            columns = {column.name: "unknown" for column in declarations[name].stored_columns}
            schema.setdefault(name.layer.value, {})[name.table] = columns
    return schema


def _analyse(model: Model, columns: Iterable[str], views: Mapping[str, str], schema: _Schema) -> _Packed:
    found: _Packed = {}
    try:
        sources: dict[str, exp.Query | Callable[[], exp.Query]] = {name: _parsed(sql) for name, sql in views.items()}
        tree = exp.expand(_parsed(model.compiled_sql), sources, dialect=_DIALECT)
        tree = qualify(tree, schema=schema, dialect=_DIALECT, validate_qualify_columns=False, identify=False)
        scope = build_scope(tree)
        for column in columns:
            root = lineage(column, tree, schema=schema, dialect=_DIALECT, scope=scope, trim_selects=False)
            leaves = {(leaf, node.name) for node in root.walk() if isinstance(leaf := node.expression, exp.Table)}
            origins = {
                (f"{leaf.db}.{leaf.name}", name.rpartition(".")[2].strip('"')) for leaf, name in leaves if leaf.db
            }
            found[column] = sorted([table, origin] for table, origin in origins)
    except SqlglotError as error:
        _log.warning("no column lineage", model=model.label, reason=str(error).split("\n", 1)[0])
        return {}
    return found


def _computed(found: _Packed, computed: Mapping[str, Iterable[str]]) -> _Packed:
    """The columns that no SQL has, for the strategy makes them of others."""
    if not found:
        return {}
    origins = {name: {(*one,) for column in columns for one in found[column]} for name, columns in computed.items()}
    return {name: sorted(map(list, of)) for name, of in origins.items()}


def _parsed(sql: str) -> exp.Query:
    tree = sqlglot.parse_one(sql, dialect=_DIALECT)
    if not isinstance(tree, exp.Query):
        message = "not a query"
        raise SqlglotError(message)
    for table in tree.find_all(exp.Table):
        table.set("catalog", None)  # dbt names the database, contracts do not
    return tree


def _unpack(packed: _Packed) -> Columns:
    layers = {layer.value for layer in Layer}
    return {
        column: frozenset(
            (TableName.parse(table), origin) for table, origin in origins if table.partition(".")[0] in layers
        )
        for column, origins in packed.items()
    }


def _key(sql: str, views: Mapping[str, str], schema: object, computed: Mapping[str, Iterable[str]]) -> str:
    content = json.dumps([version("sqlglot"), sql, views, schema, dict(computed)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _recall(memory: Path | None) -> dict[str, _Packed]:
    if memory is None or not memory.is_file():
        return {}
    try:
        recalled: dict[str, _Packed] = json.loads(memory.read_text(encoding="utf-8"))
    except ValueError:
        return {}  # Half-written by a process that was killed: found again at the cost of a second.
    return recalled
