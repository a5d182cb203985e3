"""A lake that the tests of a module share, with a clock of its own, and tables made from rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from lakehouse.iceberg import Lake, arrow_schema
from lakehouse.quality import Finding, Gate
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import (
    Bound,
    Column,
    Comparison,
    Rule,
    RuleKind,
    Severity,
    Table,
    TableName,
    TableRule,
    TableRuleKind,
)

ROOT = Path(__file__).resolve().parents[2]

ORDERS = (
    Column("order_id", "long", required=True),
    Column("order_date", "date"),
    Column("amount", "decimal(12, 2)"),
    Column("at", "timestamptz"),  # a word that DuckDB reserves and PostgreSQL does not
    Column("email", "string", personal=True),
    Column("status", "string"),
    Column("weight", "double"),
)


@pytest.fixture(scope="module")
def judged_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An empty state folder; it is always noon of 3 January 2026 there."""
    state = tmp_path_factory.mktemp("state")
    return load_settings(
        ROOT,
        state=str(state),
        catalog={"uri": f"sqlite:///{state}/catalog.db"},
        quality={"clock": "select timestamptz '2026-01-03 12:00:00+00'", "sample_rows": 3},
    )


@pytest.fixture(scope="module")
def judged_lake(judged_settings: Settings) -> Lake:
    return Lake.open(judged_settings)


@pytest.fixture
def table() -> Callable[..., Table]:
    """table(name, *rules): an orders table with these rules."""

    def make(name: str, *rules: Rule | TableRule, columns: tuple[Column, ...] = ORDERS) -> Table:
        return Table(
            name=TableName.parse(name),
            domain="shop",
            description="Orders",
            columns=columns,
            file=Path("orders.yaml"),
            primary_key=(columns[0].name,),
            rules=tuple(rule for rule in rules if isinstance(rule, Rule)),
            table_rules=tuple(rule for rule in rules if isinstance(rule, TableRule)),
        )

    return make


@pytest.fixture
def fill(judged_lake: Lake) -> Callable[..., None]:
    """fill(table, rows, branch=...): make the table, and replace what is there by these rows."""

    def write(table: Table, rows: Iterable[Mapping[str, object]], branch: str = "main") -> None:
        made = judged_lake.create(table)
        schema = arrow_schema(table.columns)
        full = [{column.name: row.get(column.name) for column in table.columns} for row in rows]
        if branch != "main":
            made.create_branch(branch)
        made.overwrite(pa.Table.from_pylist(full, schema=schema), where=None, run_key=uuid4().hex, branch=branch)

    return write


@pytest.fixture
def judge(judged_settings: Settings, judged_lake: Lake) -> Callable[..., dict[str, Finding]]:
    """judge(table, *others, at=...): findings by rule, of a gate of its own."""

    def run(*tables: Table, at: str = "main") -> dict[str, Finding]:
        gate = Gate(judged_settings, judged_lake, {one.name: one for one in tables})
        return {finding.rule: finding for finding in gate.audit(tables[0].name, at=at)}

    return run


@pytest.fixture
def row_rule() -> Callable[..., Rule]:
    """row_rule(name, predicate, column=..., kind=..., ...): what is left over are the kind's arguments."""

    def make(
        name: str,
        predicate: str,
        column: str | None = None,
        kind: RuleKind = RuleKind.SQL,
        severity: Severity = Severity.ERROR,
        **arguments: object,
    ) -> Rule:
        return Rule(name, predicate, severity, column, f"about {name}", kind, arguments)

    return make


@pytest.fixture
def bound() -> Callable[..., Bound]:
    def make(comparison: Comparison, *values: float | str, percent: bool = False) -> Bound:
        return Bound(comparison, values, percent=percent)

    return make


@pytest.fixture
def fresh() -> TableRule:
    """At most a day old."""
    return TableRule("fresh", TableRuleKind.FRESH, ("order_date",), {"within": timedelta(days=1)})
