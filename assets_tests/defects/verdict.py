"""What a run found out about a defect, and whether silver and gold show it. The page of all of them is `page.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from assets_tests.defects.world import Run, World
from lakehouse.errors import LoadRejected


class How(StrEnum):
    """What became of a defect, the strongest first."""

    STOPPED = "stopped"
    """A rule of severity error failed: the table stays as it was, and so does what reads it."""
    REFUSED = "load refused"
    """The source is not what the contract says, or too many of its rows are not: nothing of the load is published."""
    QUARANTINED = "quarantined"
    """The door kept the rows out; the others went on."""
    REPORTED = "reported"
    """A rule of severity warning failed; the rows are published."""
    MISSED = "missed"
    """No rule noticed."""


@dataclass(frozen=True)
class Verdict:
    """`noticed`: by rule (`bronze.orders.no_day_missing`), what it did. `shown`: whether silver or gold show it."""

    noticed: Mapping[str, How]
    shown: bool

    @property
    def how(self) -> How:
        """What became of it."""
        return next((how for how in How if how in self.noticed.values()), How.MISSED)


def quarantined(world: World) -> Mapping[str, int]:
    """How many records wait in quarantine, by rule."""
    return {
        f"bronze.{table.removeprefix('shop_')}.{rule}": rows
        for table in world.tables("quarantine")
        for rule, rows in world.rows(
            "select rule, count(*) from (select unnest(from_json(broken_rules, '[\"varchar\"]')) as rule"
            f" from quarantine.{table}) group by rule"
        )
    }


def noticed(run: Run, before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, How]:
    """What a run noticed, by rule; the records in quarantine are those before and after it."""
    found: dict[str, How] = {}
    for rule, rows in after.items():
        if rows > before.get(rule, 0):
            table = rule.rpartition(".")[0]
            too_many = [name for name, error in run.refused.items() if isinstance(error, LoadRejected)]
            found[rule] = How.REFUSED if table in map(str, too_many) else How.QUARANTINED
    for name, error in run.refused.items():
        if not isinstance(error, LoadRejected):
            found[f"{name}: {type(error).__name__}"] = How.REFUSED
    for (name, rule), finding in run.gate.findings.items():
        if not finding.passed:
            found[f"{name}.{rule}"] = How.STOPPED if finding.blocks else How.REPORTED
    return found
