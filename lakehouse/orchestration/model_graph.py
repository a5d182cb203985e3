"""Which tables read which, as dbt's manifest says: what lies above a table, and what is built along with it.

What is out of date is found in `lakehouse/changes/`; what Dagster's assets are is `models.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.orchestration.specs import table_key
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations
    from lakehouse.settings import Settings
    from lakehouse.transform.manifest import Manifest


@dataclass(frozen=True)
class ModelGraph:
    """The models of a project, and the contracts that say which of them belong to a daily chain."""

    manifest: Manifest
    declarations: Declarations

    @classmethod
    def read(cls, settings: Settings, declarations: Declarations) -> ModelGraph:
        """The graph of the prebuilt manifest. Raises TransformError with the remedy when there is none yet."""
        from lakehouse.transform.folders import manifest_path
        from lakehouse.transform.manifest import Manifest

        return cls(Manifest.read(manifest_path(settings)), declarations)

    @cached_property
    def parents(self) -> Mapping[TableName, frozenset[TableName]]:
        """The tables that each model's table reads, through views."""
        return {name: self.manifest.parents(name) for name in self.manifest.by_table if name in self._models}

    @cached_property
    def daily(self) -> frozenset[TableName]:
        """The tables whose days are built again when their inputs change."""
        return frozenset(name for name in self._models if self.declarations[name].follows_by_days)

    @cached_property
    def undated(self) -> frozenset[TableName]:
        """The models' tables that belong to no daily chain: each run replaces or merges them as a whole."""
        return frozenset(name for name in self._models if not self.declarations[name].windowed)

    def above(self, name: TableName) -> frozenset[TableName]:
        """Every table that a table is computed from, near or far."""
        found: set[TableName] = set()
        waiting = list(self.parents.get(name, ()))
        while waiting:
            table = waiting.pop()
            if table not in found:
                found.add(table)
                waiting += self.parents.get(table, ())
        return frozenset(found)

    def along_with(self, names: Iterable[TableName]) -> frozenset[TableName]:
        """These tables, and the undated models below them that are reached through undated ones.

        One run brings all of them up to date, so that nobody waits for a run a layer.
        """
        found = set(names)
        grown = True
        while grown:
            grown = False
            for name in self.undated - found:
                if self.parents[name] & found:
                    found.add(name)
                    grown = True
        return frozenset(found)

    def keys(self, names: Iterable[TableName]) -> tuple[dg.AssetKey, ...]:
        """The assets of a run that makes these tables: the tables, and the views that their models read."""
        wanted = sorted(names)
        views = {view for name in wanted for view in self._views(name)}
        return (*map(table_key, wanted), *(dg.AssetKey(view.split(".")) for view in sorted(views)))

    @cached_property
    def _models(self) -> frozenset[TableName]:
        made = {model.table for model in self.manifest.models.values() if model.materialized != "source"}
        return frozenset(name for name in made if name is not None and name in self.declarations)

    def _views(self, name: TableName) -> Iterator[str]:
        """The views between a table and the tables that it reads."""
        if name not in self._models:
            return
        waiting = list(self.manifest.by_table[name].parents)
        while waiting:
            model = self.manifest.models[waiting.pop()]
            if model.table is None:
                yield model.label
                waiting += model.parents
