"""dbt's nodes as Dagster specs: a model is its contract's table; a staging view is a view; a written test is a check.

How dbt is run belongs in `models.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster_dbt import DagsterDbtTranslator, DagsterDbtTranslatorSettings, DbtProject

from lakehouse.errors import SettingsError
from lakehouse.orchestration.specs import table_spec
from lakehouse.tables import Table, TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

NODE = "lakehouse/dbt_node"
"""Metadata key under which a check keeps the unique id of its dbt test."""
_RENDERED = {"rule", "audit"}
"""Keys of a test's meta that name the contract's rules which it stands for."""


class ContractTranslator(DagsterDbtTranslator):
    """Facts come from the contracts; dbt's manifest adds only what depends on what, and the tests."""

    def __init__(self, declarations: Declarations) -> None:
        super().__init__(DagsterDbtTranslatorSettings(enable_asset_checks=True))
        self._declarations = declarations

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """`[layer, table]`, as everywhere."""
        return dg.AssetKey(list(relation(dbt_resource_props)))

    def get_asset_spec(self, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None) -> dg.AssetSpec:
        """The spec of the contract's table, with the dependencies that dbt found; stock for staging views."""
        stock = super().get_asset_spec(manifest, unique_id, project)
        props = self.get_resource_props(manifest, unique_id)
        table = self.table_of(props)
        if table is None or props["resource_type"] != "model":
            return stock.replace_attributes(group_name=_group(props), kinds={"dbt", "duckdb"}, owners=[], tags={})
        spec = table_spec(table, stock.deps, kind="dbt")
        # dagster-dbt finds its way back from a spec by metadata of its own, which must stay.
        return spec.replace_attributes(metadata={**stock.metadata, **spec.metadata}, code_version=stock.code_version)

    def get_asset_check_spec(
        self, asset_spec: dg.AssetSpec, manifest: Mapping[str, Any], unique_id: str, project: DbtProject | None
    ) -> dg.AssetCheckSpec | None:
        """A test that somebody wrote, as a check that remembers which test it is and says what it demands.

        None for what is rendered from a contract: its rules are checks by themselves (`checks.py`).
        """
        props = self.get_resource_props(manifest, unique_id)
        spec = super().get_asset_check_spec(asset_spec, manifest, unique_id, project)
        if spec is None or _RENDERED & props["config"].get("meta", {}).keys():
            return None
        return spec._replace(metadata={**(spec.metadata or {}), NODE: unique_id}, description=_demand(props))

    def table_of(self, props: Mapping[str, Any]) -> Table | None:
        """The declared table behind a node, None for a staging view."""
        try:
            return self._declarations.get(TableName.parse(".".join(relation(props))))
        except SettingsError:
            return None


def relation(props: Mapping[str, Any]) -> tuple[str, str]:
    """Schema and name of a model's or source's relation."""
    return props["schema"], props.get("alias") or props.get("identifier") or props["name"]


def _demand(props: Mapping[str, Any]) -> str | None:
    """What a test asks of the data: in words where the contract has some, else as SQL."""
    asked = props.get("description") or (props.get("test_metadata") or {}).get("kwargs", {}).get("expression")
    return str(asked) if asked else None


def _group(props: Mapping[str, Any]) -> str:
    domain = props["fqn"][1] if len(props["fqn"]) > 2 else "lake"  # noqa: PLR2004  (project, domain, ..., model)
    return f"{domain}_{props['schema']}"
