"""How the rules of contracts stand: the last result of each, out of `ops.checks`, with the share that passed.

How a report looks is `report_page.py` and `cli/`. What is judged, and when, does not belong here.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from lakehouse.contracts import Declarations
from lakehouse.iceberg import Lake, connect
from lakehouse.ledger import CHECKS
from lakehouse.quality.finding import Outcome, Sample
from lakehouse.quality.suite import rules_of
from lakehouse.settings import Settings
from lakehouse.tables import Rule, Severity, Table, TableName, TableRule

_LAST = """
SELECT * FROM {checks}
QUALIFY row_number() OVER (PARTITION BY table_name, rule ORDER BY checked_at DESC, run_id DESC) = 1
"""


@dataclass(frozen=True)
class Result:
    """The last time that a rule was judged. `published`: whether what was judged became visible."""

    table: TableName
    rule: str
    severity: Severity
    description: str
    outcome: Outcome
    observed: str
    rows: int | None
    failed: int | None
    sample: tuple[Sample, ...]
    sql: str
    branch: str
    snapshot_id: int | None
    published: bool
    run_id: str
    at: datetime

    @property
    def passed(self) -> bool:
        """Whether the rule holds."""
        return self.outcome is Outcome.PASSED

    @property
    def blocks(self) -> bool:
        """Whether it keeps rows from becoming visible."""
        return not self.passed and self.severity is Severity.ERROR

    @property
    def share_passed(self) -> float | None:
        """The share of the rows judged that fulfil the rule, 0 to 1; None where rows cannot be told apart."""
        if self.rows is None or self.failed is None:
            return None
        return 1 - self.failed / self.rows if self.rows else 1.0


@dataclass(frozen=True)
class TableReport:
    """One table: what was judged of it, failures first, and the names of the rules that never were."""

    table: TableName
    results: tuple[Result, ...]
    unjudged: tuple[str, ...] = ()

    @property
    def share_passed(self) -> float | None:
        """The share of the rules judged that hold, 0 to 1; None when none was."""
        return _share(self.results)


@dataclass(frozen=True)
class Report:
    """The tables asked about, those with failures first."""

    tables: tuple[TableReport, ...]
    at: datetime

    @property
    def results(self) -> tuple[Result, ...]:
        """Of all tables."""
        return tuple(result for table in self.tables for result in table.results)

    @property
    def share_passed(self) -> float | None:
        """The share of the rules judged that hold, 0 to 1; None when none was."""
        return _share(self.results)

    @property
    def blocked(self) -> tuple[Result, ...]:
        """The blocking rules that do not hold."""
        return tuple(result for result in self.results if result.blocks)

    @property
    def unjudged(self) -> int:
        """How many rules were never judged."""
        return sum(len(table.unjudged) for table in self.tables)


def report(settings: Settings, declarations: Declarations, *, names: Collection[TableName] = ()) -> Report:
    """The last results of the rules that these tables (default: all declared) have in their contracts today.

    Raises what the catalog and the query raise.
    """
    found = _last_rows(settings)
    wanted = [table for name, table in declarations.items() if not names or name in names]
    tables = [_table_report(table, found) for table in wanted if rules_of(table)]
    return Report(tuple(sorted(tables, key=_most_urgent)), datetime.now(UTC))


def report_json(whole: Report) -> dict[str, object]:
    """As programs read it. Shares are 0 to 1; `blocked` names rules as layer.table.rule."""
    return {
        "at": whole.at,
        "share_passed": whole.share_passed,
        "passed": sum(result.passed for result in whole.results),
        "judged": len(whole.results),
        "blocked": [f"{result.table}.{result.rule}" for result in whole.blocked],
        "unjudged": whole.unjudged,
        "tables": [
            {
                "table": str(table.table),
                "share_passed": table.share_passed,
                "results": list(_rows(table)),
                "unjudged": table.unjudged,
            }
            for table in whole.tables
        ],
    }


def _last_rows(settings: Settings) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    lake = Lake.open(settings)
    if not lake.exists(CHECKS.name):
        return {}
    with connect(settings) as duck:
        rows = duck.execute(_LAST.format(checks=lake.relation_sql(CHECKS.name))).to_arrow_table().to_pylist()
    return {(row["table_name"], row["rule"]): row for row in rows}


def _table_report(table: Table, found: Mapping[tuple[str, str], Mapping[str, Any]]) -> TableReport:
    judged, unjudged = [], []
    for rule in rules_of(table):
        row = found.get((str(table.name), rule.name))
        if row is not None:
            judged.append(_result(table.name, rule, row))
        elif not _at_the_door(table, rule):
            unjudged.append(rule.name)
    return TableReport(table.name, tuple(sorted(judged, key=_urgency)), tuple(unjudged))


def _at_the_door(table: Table, rule: Rule | TableRule) -> bool:
    """Whether rows that break the rule never reach the table: they are in its quarantine, and nothing is judged."""
    return table.load is not None and isinstance(rule, Rule) and rule.severity is Severity.ERROR


def _rows(table: TableReport) -> Iterator[dict[str, object]]:
    for result in table.results:
        row = {**asdict(result), "share_passed": result.share_passed}
        del row["table"]
        yield row


def _result(name: TableName, rule: Rule | TableRule, row: Mapping[str, Any]) -> Result:
    """The severity is the contract's of today: that is what decides whether the next run is stopped."""
    return Result(
        table=name,
        rule=rule.name,
        severity=rule.severity,
        description=rule.description,
        outcome=Outcome(row["outcome"]),
        observed=row["observed"],
        rows=row["rows_judged"],
        failed=row["rows_failed"],
        sample=tuple(json.loads(row["sample"])) if row["sample"] else (),
        sql=row["sql"],
        branch=row["branch"],
        snapshot_id=row["snapshot_id"],
        published=row["published"],
        run_id=row["run_id"],
        at=row["checked_at"],
    )


def _share(results: Collection[Result]) -> float | None:
    return sum(result.passed for result in results) / len(results) if results else None


def _urgency(result: Result) -> int:
    """Blocking failures, then other failures, then what holds; within each as the contract has them."""
    return 0 if result.blocks else 1 if not result.passed else 2


def _most_urgent(table: TableReport) -> tuple[int, TableName]:
    return min((_urgency(result) for result in table.results), default=3), table.table
