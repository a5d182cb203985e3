"""`lakehouse table list|show|lineage`: what there is, everything that was derived, and where a column comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lakehouse.cli.output import AsJson, out, show_facts, show_json, show_rows
from lakehouse.errors import TableMissing
from lakehouse.settings import load_settings
from lakehouse.tables import Table, TableName

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake

app = typer.Typer(help="The tables of the lake.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A table, e.g. silver.orders.")]


@app.command("list")
def list_tables(*, as_json: AsJson = False) -> None:
    """Print rows, files, snapshots and last write of every table."""
    from lakehouse.iceberg import Lake

    lake = Lake.open(load_settings())
    rows = []
    for name in lake.names():
        stats = lake.table(name).stats()
        rows.append(
            {
                "table": str(name),
                "rows": stats.rows,
                "files": stats.files,
                "bytes": stats.bytes,
                "snapshots": stats.snapshots,
                "last_write": stats.last_commit_at,
            }
        )
    show_rows(rows, as_json=as_json)


@app.command()
def show(name: Name, *, as_json: AsJson = False) -> None:
    """Print every fact about a table: what its contract states and all that is derived from it."""
    from lakehouse.contracts import read_tables
    from lakehouse.iceberg import Lake

    settings = load_settings()
    declarations = read_tables(settings.defs)
    wanted = TableName.parse(name)
    lake = Lake.open(settings)
    declared = declarations.get(wanted)
    if declared is None and not lake.exists(wanted):
        raise TableMissing(f"no table {wanted}", remedy="Run `lakehouse table list` for the tables there are.")
    facts = _declared_facts(declared) if declared else []
    if lake.exists(wanted):
        facts += _stored_facts(lake, wanted)
    if as_json:
        show_json(dict(facts))
        return
    show_facts(facts)
    if declared:
        columns = [
            {
                "column": c.name,
                "type": c.type,
                "required": c.required,
                "personal": c.personal,
                "description": c.description,
            }
            for c in declared.stored_columns
        ]
        out.print()
        show_rows(columns, as_json=False)


@app.command()
def lineage(
    column: Annotated[str, typer.Argument(help="A column, e.g. gold.daily_revenue.revenue_eur.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Print the tree of columns that a column is computed from."""
    from lakehouse.cli.lineage import show_lineage

    show_lineage(column, as_json=as_json)


def _declared_facts(table: Table) -> list[tuple[str, object]]:
    load = table.load
    return [
        ("table", str(table.name)),
        ("description", table.description),
        ("contract", table.file),
        ("version", table.version),
        ("owners", ", ".join(table.owners)),
        ("asset", "/".join(table.name.key)),
        ("group", f"{table.domain}_{table.name.layer.value}"),
        ("tags", ", ".join(f"{k}={v}" for k, v in table.tags.items())),
        ("primary key", ", ".join(table.primary_key)),
        ("partitioned by", ", ".join(f"{field.transform}({field.column})" for field in table.partition_by)),
        ("sorted by", ", ".join(table.sort_by)),
        ("daily chain", f"{table.window_column} from {table.window_start}" if table.window_column else None),
        ("business day", str(table.business_day) if table.business_day else None),
        ("dagster partitions", "daily" if table.windowed else "none"),
        ("loaded from", f"{load.source}: {', '.join(f'{k}={v}' for k, v in load.options.items())}" if load else None),
        ("reject limit", load.limit if load else None),
        ("strategy", "append" if load else table.strategy.value),
        *_policy_facts(table),
        ("quarantine", f"quarantine.{table.domain}_{table.name.table}" if load else None),
        ("fresh within", str(table.fresh_within) if table.fresh_within else None),
        ("row rules", ", ".join(f"{rule.name} ({rule.severity.value})" for rule in table.rules)),
        ("upkeep", f"files of {table.upkeep.target_file_mb} MB, snapshots kept {table.upkeep.keep_snapshots}"),
        ("pool", str(table.name)),
    ]


def _policy_facts(table: Table) -> list[tuple[str, object]]:
    """By which columns rows enter, of the strategies that enter them by key."""
    if table.merge is not None:
        merge = table.merge
        late = f"late rows known for {merge.late.days} days"
        return [
            ("merge key", ", ".join(merge.key)),
            ("sequence", merge.sequence),
            ("deleted where", f"{merge.deleted}{f'; {late}' if merge.sequence else ''}" if merge.deleted else None),
        ]
    if table.history is not None:
        history = table.history
        return [
            ("history of", ", ".join(history.key)),
            ("tracked", ", ".join(history.tracked) or "all attributes"),
            ("valid", f"{history.valid_from} to {history.valid_to}"),
            ("current where", history.current),
            ("surrogate key", history.surrogate),
            ("deleted where", history.deleted),
            ("result", "all of its keys" if history.complete else f"changes, late ones for {history.late.days} days"),
        ]
    return []


def _stored_facts(lake: Lake, name: TableName) -> list[tuple[str, object]]:
    table = lake.table(name)
    stats = table.stats()
    return [
        ("rows", stats.rows),
        ("files", stats.files),
        ("bytes", stats.bytes),
        ("snapshots", stats.snapshots),
        ("last write", stats.last_commit_at),
        ("branches", ", ".join(table.branches())),
    ]
