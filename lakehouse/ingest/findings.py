"""What a load has shown about its rows, as findings beside the gate's: the balance, the quarantine, the door's rules.

What the door stops waits in quarantine and holds nothing back, so that its findings are warnings; only a balance that
is out of true is an error.
"""

from __future__ import annotations

from collections.abc import Iterator

from lakehouse.iceberg import MAIN, Lake
from lakehouse.ingest.drift import Difference
from lakehouse.ingest.load import LoadResult
from lakehouse.ingest.quarantine import WAITING, quarantine_table
from lakehouse.ingest.records import UNPARSED
from lakehouse.ingest.rejects import Broken
from lakehouse.ingest.states import waiting
from lakehouse.quality.finding import Finding, Outcome, Sample
from lakehouse.quality.masking import MASK
from lakehouse.tables import Rule, Severity, Table
from lakehouse.tables.load_check import LoadCheck
from lakehouse.tables.sql import literal


def door_rules(table: Table) -> tuple[Rule, ...]:
    """The rules that the door judges row by row."""
    return tuple(rule for rule in table.rules if rule.severity is Severity.ERROR)


def load_findings(lake: Lake, table: Table, result: LoadResult) -> tuple[Finding, ...]:
    """What a load shows, and behind it what the gate found. One finding a check, samples masked."""
    found = _Found(table, result)
    types = {f"{column.name}_type" for column in table.columns} | {UNPARSED}
    return (
        found.balance(),
        quarantined(lake, table),
        found.broken(LoadCheck.TYPES.value, LoadCheck.TYPES.description, types & result.broken.keys()),
        *found.drift(),
        *(found.rule(rule) for rule in door_rules(table)),
        *result.findings,
    )


def quarantined(lake: Lake, table: Table) -> Finding:
    """Whether no record of the table waits in the quarantine. What was loaded, replayed or discarded since does not."""
    name, found = quarantine_table(table).name, waiting(lake, table)
    count = found.total()
    by_state = ", ".join(f"{found[state]:,} {state}" for state in WAITING if found[state])
    look = (
        f"`lakehouse reject list {table.name}` tells them by rule, `lakehouse reject replay {table.name}` tries again."
    )
    return Finding(
        table=table.name,
        rule=LoadCheck.QUARANTINE.value,
        severity=Severity.WARNING,
        outcome=Outcome.FAILED if count else Outcome.PASSED,
        description=f"{LoadCheck.QUARANTINE.description} {look}",
        observed=f"{count:,} rows in {name}{f' ({by_state})' if count else ''}",
        sql=f"from {name} where state in ({', '.join(map(literal, WAITING))})" if count else "",
    )


def _in_source(difference: Difference) -> str:
    return "-" if difference.source is None else difference.source or "there"


class _Found:
    def __init__(self, table: Table, result: LoadResult) -> None:
        self._table, self._result = table, result
        self._branch = result.commit.branch if result.commit is not None else MAIN
        self._snapshot_id = result.commit.snapshot_id if result.commit is not None else None

    def balance(self) -> Finding:
        read, difference = self._result.rows_read, self._result.difference
        return Finding(
            table=self._table.name,
            rule=LoadCheck.BALANCE.value,
            severity=Severity.ERROR,
            outcome=Outcome.FAILED if difference else Outcome.PASSED,
            description=LoadCheck.BALANCE.description,
            observed=f"{read:,} rows read, {read - difference:,} accounted for",
            branch=self._branch,
            snapshot_id=self._snapshot_id,
        )

    def drift(self) -> Iterator[Finding]:
        """Whether the source is what the contract says; nothing where a load read nothing, and so did not compare."""
        differences = self._result.drift
        if differences is None:
            return
        yield Finding(
            table=self._table.name,
            rule=LoadCheck.DRIFT.value,
            severity=Severity.WARNING,
            outcome=Outcome.FAILED if differences else Outcome.PASSED,
            description=LoadCheck.DRIFT.description,
            observed="; ".join(map(str, differences)) or "no difference",
            sample=tuple(
                {"column": one.column, "in the contract": one.contract or "-", "in the source": _in_source(one)}
                for one in differences
            ),
            branch=self._branch,
            snapshot_id=self._snapshot_id,
        )

    def rule(self, rule: Rule) -> Finding:
        broken = {rule.name} & self._result.broken.keys()
        return self.broken(rule.name, rule.description or rule.predicate, broken, rule.column)

    def broken(self, name: str, description: str, rules: set[str], column: str | None = None) -> Finding:
        """A check of the door, by the names under which rejected records say what they broke."""
        rejected = [self._result.broken[rule] for rule in sorted(rules)]
        failed, read = sum(broken.rows for broken in rejected), self._result.rows_read
        return Finding(
            table=self._table.name,
            rule=name,
            severity=Severity.WARNING,
            outcome=Outcome.FAILED if failed else Outcome.PASSED,
            description=description,
            observed=f"{failed:,} of {read:,} rows rejected" if read else "no rows read",
            rows=read,
            failed=min(failed, read),
            sample=tuple(self._samples(rejected)),
            sql=self._sql(rules) if failed else "",
            column=column,
            branch=self._branch,
            snapshot_id=self._snapshot_id,
        )

    def _samples(self, rejected: list[Broken]) -> Iterator[Sample]:
        personal = self._table.personal_columns
        for broken in rejected:
            for example in broken.examples:
                yield {
                    name: MASK if name in personal and value is not None else value for name, value in example.items()
                }

    def _sql(self, rules: set[str]) -> str:
        patterns = (literal(f'%"{rule}"%') for rule in sorted(rules))
        named = " or ".join(f"broken_rules like {pattern}" for pattern in patterns)
        return f"select source, error, found from {quarantine_table(self._table).name} where {named}"
