"""A declared table as a Dagster asset spec: key, group, owners, kinds, tags, column schema, freshness, partitions.

Everything follows from the contract. What materializes the asset belongs in `bronze.py` and `models.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

import dagster as dg

from lakehouse.orchestration.conditions import CHANGES, days_changed
from lakehouse.settings import FilesSource, Source
from lakehouse.tables import Column, Layer, Table, TableName

_SOURCE_KINDS = {"postgres": "postgres", "files": "file", "http": "api"}


def table_key(name: TableName) -> dg.AssetKey:
    """`silver.orders` is the asset `silver/orders`."""
    return dg.AssetKey(list(name.key))


def table_spec(table: Table, deps: Iterable[dg.AssetKey | dg.AssetDep], *, kind: str) -> dg.AssetSpec:
    """The spec of a table's asset. `kind` says what makes it ("python", "dbt").

    A daily table asks for its own days, when those of `changes/<table>` are told.
    """
    told_by = [changes_key(table.name)] if table.follows_by_days else []
    return dg.AssetSpec(
        key=table_key(table.name),
        deps=[*deps, *told_by],
        description=table.description,
        group_name=f"{table.domain}_{table.name.layer.value}",
        owners=list(table.owners),
        kinds={"iceberg", kind},
        tags={"domain": table.domain, "layer": table.name.layer.value, **table.tags},
        metadata={
            **storage_metadata(table),
            # From the folder of definitions on: the same on every machine.
            "lakehouse/contract": dg.MetadataValue.path("/".join(table.file.parts[-4:])),
            "lakehouse/primary_key": ", ".join(table.primary_key) or "none",
            "lakehouse/written_by": _written_by(table),
        },
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=table.fresh_within) if table.fresh_within else None,
        partitions_def=days_of(table),
        automation_condition=days_changed(*told_by) if told_by else None,
        code_version=table.version,
    )


def _written_by(table: Table) -> str:
    """The strategy, with the columns that rows enter by."""
    if table.load is not None:
        return f"append ({table.load.source})"
    policy = table.merge or table.history
    if policy is None:
        return table.strategy.value
    sequence = f", newest {table.merge.sequence}" if table.merge is not None and table.merge.sequence else ""
    return f"{table.strategy.value} by {', '.join(policy.key)}{sequence}"


def changes_spec(table: Table) -> dg.AssetSpec:
    """The external asset that tells the days of a daily table whose inputs changed: one event a day and change."""
    return dg.AssetSpec(
        key=changes_key(table.name),
        description=f"Days of {table.name} whose inputs changed. Each event says which table changed, and is answered"
        " by building the day again.",
        group_name=f"{table.domain}_{CHANGES}",
        partitions_def=days_of(table),
    )


def changes_key(name: TableName) -> dg.AssetKey:
    """`changes/silver/orders`."""
    return dg.AssetKey([CHANGES, *name.key])


def source_spec(table: Table, source: Source, *, first_day: date | None) -> dg.AssetSpec:
    """The external asset that a bronze table reads: a table of a database, files of a folder, a path of an API.

    Files belong to days, from `first_day` on; None: nobody knows of any.
    """
    return dg.AssetSpec(
        key=source_key(table),
        description=f"What {table.name} is loaded from: {_object_of(table)} of the {source.kind} source.",
        group_name=f"{table.domain}_sources",
        kinds={_SOURCE_KINDS.get(source.kind, "python")},
        partitions_def=days_from(first_day) if first_day and isinstance(source, FilesSource) else None,
    )


def source_key(table: Table) -> dg.AssetKey:
    """`source/<connection>/<object>`. Raises ValueError for a table that is not loaded."""
    if table.load is None:
        message = f"{table.name} has no source"
        raise ValueError(message)
    return dg.AssetKey(["source", table.load.source, _object_of(table)])


def days_of(table: Table) -> dg.DailyPartitionsDefinition | None:
    """The daily partitions of a table of a daily chain; None for every other."""
    return days_from(table.window_start) if table.windowed and table.window_start else None


def days_from(start: date) -> dg.DailyPartitionsDefinition:
    """The daily partitions of a chain, UTC days from `start` to today. Equal starts give equal definitions."""
    # Dagster's own last day is yesterday; what came in today ought to be seen today.
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), end_offset=1)


def first_day(declarations: Mapping[TableName, Table], domain: str) -> date | None:
    """The day that the first daily chain of a domain starts on."""
    return min((t.window_start for t in declarations.values() if t.domain == domain and t.window_start), default=None)


def pool_of(table: Table) -> str:
    """The pool of the step that writes a table: commits to a table follow one another."""
    if table.name.layer is Layer.BRONZE:
        return str(table.name)
    return models_pool(table.window_start if table.windowed else None)


def models_pool(start: date | None) -> str:
    """The pool of the daily chain from `start` on; None: of all models without days."""
    return "dbt" if start is None else f"dbt:{start}"


def storage_metadata(table: Table) -> Mapping[str, Any]:
    """Where the table is kept and which columns it has, under the keys the UI knows."""
    return {
        "dagster/table_name": str(table.name),
        "dagster/storage_kind": "iceberg",
        "dagster/column_schema": dg.TableSchema(columns=[_column(c, table) for c in table.stored_columns]),
    }


def _column(column: Column, table: Table) -> dg.TableColumn:
    unique = column.unique or table.primary_key == (column.name,)
    return dg.TableColumn(
        name=column.name,
        type=column.type,
        description=column.description,
        tags={"personal": ""} if column.personal else None,
        constraints=dg.TableColumnConstraints(nullable=not column.required, unique=unique),
    )


def _object_of(table: Table) -> str:
    options = table.load.options if table.load else {}
    named = options.get("table") or options.get("files") or options.get("path") or table.name.table
    # An asset key takes no wildcards: of `payments/*.jsonl` the folder is what people call it.
    fixed = re.split(r"[*?\[]", str(named).removeprefix("public."))[0]
    return re.sub(r"\W+", "_", fixed.strip("/.")) or table.name.table
