"""A new contract file as text, for a table whose columns are known: what `lakehouse add` writes.

The text is a beginning for people to go on with; `read_tables` accepts it as it is. Files are written by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import yaml

from lakehouse.contracts.document import PLAIN_EXPONENT
from lakehouse.contracts.standard import API_VERSION
from lakehouse.contracts.types import family
from lakehouse.tables import Column, LoadPolicy, Strategy, TableName

_LOGICAL = {
    "int": "integer",
    "float": "number",
    "decimal": "number",
    "uuid": "string",
    "binary": "string",
    "fixed": "string",
    "timestamp": "timestamp",
}
_PLAIN = {
    "long": "integer",
    "double": "number",
    "string": "string",
    "date": "date",
    "timestamptz": "timestamp",
    "time": "time",
    "boolean": "boolean",
}


def render_contract(  # noqa: PLR0913  (what a contract says, each once)
    name: TableName,
    domain: str,
    columns: Sequence[Column],
    *,
    description: str,
    owners: Sequence[str],
    primary_key: Sequence[str] = (),
    load: LoadPolicy | None = None,
    limits: Mapping[str, Mapping[str, object]] | None = None,
    window: tuple[str, date] | None = None,
    strategy: Strategy | None = None,
    fresh_within: timedelta | None = None,
) -> str:
    """The YAML of a contract for a table. Types are Iceberg's, as in Column; nothing is checked here.

    `limits` are further keys of a column's entry by its name, such as `logicalTypeOptions` and `quality`.
    """
    further = limits or {}
    contract: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"{domain}.{name}",
        "version": "1.0.0",
        "status": "active",
        "description": {"purpose": description},
        "team": {"members": [_Flow(username=owner) for owner in owners]},
        "schema": [
            {
                "name": name.table,
                "properties": [_column(column, tuple(primary_key), further.get(column.name, {})) for column in columns],
            }
        ],
    }
    if fresh_within is not None:
        minutes = round(fresh_within.total_seconds() / 60)
        value, unit = (minutes // 60, "h") if minutes % 60 == 0 else (minutes, "m")
        contract["slaProperties"] = [_Flow(property="latency", value=value, unit=unit)]
    custom: list[_Flow] = []
    if load is not None:
        custom.append(_Flow(property="load", value=_Flow(source=load.source, **load.options)))
        if load.reject_rows is not None:
            limits = _Flow(share=load.reject_limit, rows=load.reject_rows)
            custom.append(_Flow(property="rejectLimit", value=limits))
        elif load.reject_limit != LoadPolicy.reject_limit:
            custom.append(_Flow(property="rejectLimit", value=load.reject_limit))
        if load.deletes_limit != LoadPolicy.deletes_limit:
            custom.append(_Flow(property="deletesLimit", value=load.deletes_limit))
    if window is not None:
        custom.append(_Flow(property="window", value=_Flow(column=window[0], start=window[1])))
    if strategy is not None:
        custom.append(_Flow(property="strategy", value=strategy.value))
    if custom:
        contract["customProperties"] = custom
    return yaml.dump(contract, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _column(column: Column, primary_key: tuple[str, ...], further: Mapping[str, object]) -> dict[str, Any]:
    kind = family(column.type)
    stated: dict[str, Any] = {"name": column.name, "logicalType": _PLAIN.get(kind) or _LOGICAL[kind]}
    if kind not in _PLAIN:
        stated["physicalType"] = column.type
    if column.name in primary_key:
        stated["primaryKey"] = True
        if len(primary_key) > 1:
            stated["primaryKeyPosition"] = primary_key.index(column.name) + 1
    if column.required:
        stated["required"] = True
    if column.unique:
        stated["unique"] = True
    if column.personal:
        stated["classification"] = "personal"
    stated.update({key: _flow(value) for key, value in further.items()})
    if column.description:
        stated["description"] = column.description
    return stated


class _Flow(dict[str, Any]):
    """A mapping that stands on one line."""


def _flow(value: object) -> object:
    """The same, with every mapping of it on one line."""
    if isinstance(value, Mapping):
        return _Flow({key: _flow(inner) for key, inner in value.items()})
    return [_flow(inner) for inner in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    """Lists indented under their key, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002  (PyYAML's signature)
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  (PyYAML's signature)
        """People do not write anchors."""
        return True


def _represent_flow(dumper: yaml.SafeDumper, data: _Flow) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data.items(), flow_style=True)


_Dumper.add_representer(_Flow, _represent_flow)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", PLAIN_EXPONENT, list("-+0123456789"))
