"""dbt's manifest as far as this project needs it: which nodes there are, what they read, which test is whose.

Reads a file that exists; how it comes to be is `project.py`. Nothing here imports dbt: the manifest is JSON with a
published schema (https://schemas.getdbt.com/dbt/manifest/v12.json).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lakehouse.tables import Layer, TableName

ICEBERG = "iceberg"
BY_HAND = "contract_rule"
"""Tag of rules rendered as tests of dbt's own. Runs of ours leave them out: the audits judge these rules."""
_LAYERS = {layer.value for layer in Layer}


@dataclass(frozen=True)
class Model:
    """A SQL model, or a source table (which has no SQL).

    `file` is relative to the dbt project; `compiled_sql` is empty for sources.
    """

    unique_id: str
    schema: str
    name: str
    materialized: str
    file: str
    raw_sql: str
    compiled_sql: str
    parents: tuple[str, ...]

    @property
    def label(self) -> str:
        """`schema.name`, as people write it."""
        return f"{self.schema}.{self.name}"

    @property
    def table(self) -> TableName | None:
        """The Iceberg table behind the node; None for a view."""
        is_table = self.materialized in {ICEBERG, "source"} and self.schema in _LAYERS
        return TableName(Layer(self.schema), self.name) if is_table else None


@dataclass(frozen=True)
class Test:
    """A data test or unit test; `blocking` unless its severity is warn. `audit`: rules it has judged, if it is one."""

    __test__ = False  # pytest would collect it by its name

    unique_id: str
    name: str
    owner: str | None
    models: tuple[str, ...]
    blocking: bool
    unit: bool
    audit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """Models, sources and tests by unique id. Rules rendered for use by hand are not among the tests."""

    models: Mapping[str, Model]
    tests: Mapping[str, Test]

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """Read `manifest.json`."""
        content = json.loads(file.read_text(encoding="utf-8"))
        nodes = content["nodes"].values()
        models = [_model(node) for node in nodes if node["resource_type"] == "model"]
        models += [_source(node) for node in content["sources"].values()]
        tests = [_test(node) for node in nodes if node["resource_type"] == "test" and BY_HAND not in node["tags"]]
        tests += [_unit_test(node) for node in content["unit_tests"].values()]
        return cls({model.unique_id: model for model in models}, {test.unique_id: test for test in tests})

    @cached_property
    def by_table(self) -> Mapping[TableName, Model]:
        """Sources and Iceberg models by the table they stand for."""
        return {model.table: model for model in self.models.values() if model.table is not None}

    def parents(self, name: TableName) -> frozenset[TableName]:
        """The tables that a model's table reads, through views. Empty for bronze. Raises KeyError."""
        found: set[TableName] = set()
        for parent in self.by_table[name].parents:
            found |= self._tables_at(parent)
        return frozenset(found)

    def _tables_at(self, unique_id: str) -> set[TableName]:
        model = self.models[unique_id]
        if model.table is not None:
            return {model.table}
        return set().union(*(self._tables_at(parent) for parent in model.parents))

    def in_order(self, unique_ids: Iterable[str]) -> list[str]:
        """These models with parents before children; by unique id where the graph does not say."""
        wanted, seen, order = set(unique_ids), set[str](), list[str]()

        def visit(unique_id: str) -> None:
            if unique_id in seen:
                return
            seen.add(unique_id)
            for parent in sorted(self.models[unique_id].parents):
                visit(parent)
            order.append(unique_id)

        for unique_id in sorted(wanted):
            visit(unique_id)
        return [unique_id for unique_id in order if unique_id in wanted]


def _model(node: Mapping[str, Any]) -> Model:
    return Model(
        unique_id=node["unique_id"],
        schema=node["schema"],
        name=node["alias"],
        materialized=node["config"]["materialized"],
        file=node["original_file_path"],
        raw_sql=node["raw_code"],
        compiled_sql=node.get("compiled_code") or "",
        parents=_models_of(node),
    )


def _source(node: Mapping[str, Any]) -> Model:
    return Model(
        unique_id=node["unique_id"],
        schema=node["schema"],
        name=node["identifier"],
        materialized="source",
        file=node["original_file_path"],
        raw_sql="",
        compiled_sql="",
        parents=(),
    )


def _test(node: Mapping[str, Any]) -> Test:
    models = _models_of(node)
    owner = node.get("attached_node") or (models[0] if len(models) == 1 else None)
    blocking = node["config"]["severity"].lower() == "error"
    audit = tuple(node["config"].get("meta", {}).get("audit", ()))
    return Test(node["unique_id"], node["name"], owner, models, blocking=blocking, unit=False, audit=audit)


def _unit_test(node: Mapping[str, Any]) -> Test:
    models = _models_of(node)
    return Test(node["unique_id"], node["name"], models[0] if models else None, models, blocking=True, unit=True)


def _models_of(node: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in node["depends_on"]["nodes"] if name.startswith(("model.", "source.")))
