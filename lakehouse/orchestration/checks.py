"""A contract's rules as Dagster's asset checks: what each one demands, and how it came out.

How rules are judged is `quality/`, at the door `ingest/`; which run judges what is `build.py` and `bronze.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from lakehouse.orchestration.metadata import markdown_table
from lakehouse.orchestration.specs import table_key
from lakehouse.tables import Layer, Rule, Severity, Table, TableRule

if TYPE_CHECKING:
    from lakehouse.quality.finding import Finding

_ASSETS = {Layer.BRONZE, Layer.SILVER, Layer.GOLD}
_SEVERITIES = {Severity.ERROR: dg.AssetCheckSeverity.ERROR, Severity.WARNING: dg.AssetCheckSeverity.WARN}


def rule_checks(table: Table) -> Iterator[dg.AssetCheckSpec]:
    """One check a rule of the contract, named as the rule; it blocks if the rule is an error.

    Not so a bronze table's row rules: what breaks them waits in quarantine, and the rest goes on.
    """
    for rule in table.rules:
        at_the_door = table.name.layer is Layer.BRONZE and rule.severity is Severity.ERROR
        demand = rule.description or rule.predicate
        yield dg.AssetCheckSpec(
            rule.name,
            asset=table_key(table.name),
            description=f"{demand} (rows that break it are quarantined)" if at_the_door else demand,
            blocking=rule.severity is Severity.ERROR and not at_the_door,
            metadata=_stated(rule, (rule.column,) if rule.column else (), {"lakehouse/predicate": rule.predicate}),
        )
    for table_rule in table.table_rules:
        yield dg.AssetCheckSpec(
            table_rule.name,
            asset=table_key(table.name),
            description=table_rule.description or _demand(table_rule),
            additional_deps=_read_by(table_rule, table),
            blocking=table_rule.severity is Severity.ERROR,
            metadata=_stated(table_rule, table_rule.columns, {}),
        )


def check_result(finding: Finding, *, page: str | None = None) -> dg.AssetCheckResult:
    """A finding as the UI shows it; `page` is the address of its table's data docs. Samples are masked already."""
    return dg.AssetCheckResult(
        asset_key=table_key(finding.table),
        check_name=finding.rule,
        passed=finding.passed,
        severity=_SEVERITIES[finding.severity],
        description=finding.observed,
        metadata={key: value for key, value in _shown(finding, page).items() if value is not None},
    )


def held_sentence(findings: Sequence[Finding]) -> str:
    """The blocking rules that do not hold, each with what was observed."""
    return "; ".join(str(finding) for finding in findings if finding.blocks)


def _shown(finding: Finding, page: str | None) -> dict[str, Any]:
    share = finding.share
    return {
        "severity": finding.severity.value,
        "description": finding.description or None,
        "observed": finding.observed,
        "rows": finding.rows,
        "failed_rows": finding.failed,
        "failed_share": None if share is None else dg.MetadataValue.float(share),
        "sample": dg.MetadataValue.md(markdown_table(finding.sample)) if finding.sample else None,
        "sql": dg.MetadataValue.md(f"```sql\n{finding.sql}\n```") if finding.sql else None,
        # As text: JavaScript rounds whole numbers of this size.
        "snapshot_id": None if finding.snapshot_id is None else dg.MetadataValue.text(str(finding.snapshot_id)),
        "branch": finding.branch,
        "seconds": round(finding.seconds, 2),
        "data_docs": None if page is None else dg.MetadataValue.url(page),
    }


def _stated(rule: Rule | TableRule, columns: Sequence[str], more: Mapping[str, str]) -> dict[str, str]:
    facts = {"lakehouse/rule_kind": rule.kind.value, "lakehouse/severity": rule.severity.value, **more}
    return {**facts, "lakehouse/columns": ", ".join(columns)} if columns else facts


def _demand(rule: TableRule) -> str:
    arguments = ", ".join(f"{name}: {value}" for name, value in rule.arguments.items())
    return " ".join(filter(None, (rule.kind.value, ", ".join(rule.columns), arguments)))


def _read_by(rule: TableRule, table: Table) -> list[dg.AssetKey]:
    """The tables that must be there before the rule is judged."""
    from lakehouse.contracts.failures import tables_read

    others = (name for name in tables_read(rule) if name != table.name and name.layer in _ASSETS)
    return [table_key(name) for name in others]
