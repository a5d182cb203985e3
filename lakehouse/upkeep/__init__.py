"""Upkeep: looks at a table's health, plans what is worth doing, carries it out, and records it in `ops.upkeep`.

How often is decided above (`orchestration/`); what an effect promises, below (`iceberg/`).
"""

from lakehouse.upkeep.carry_out import keep_up
from lakehouse.upkeep.health import Health, health
from lakehouse.upkeep.packing import Group, Reason, plan_compaction
from lakehouse.upkeep.plan import Plan, plan_upkeep
from lakehouse.upkeep.policy import Policy, policy_of
from lakehouse.upkeep.report import ALL, Action, Outcome, UpkeepReport
from lakehouse.upkeep.told import size, span

__all__ = [
    "ALL",
    "Action",
    "Group",
    "Health",
    "Outcome",
    "Plan",
    "Policy",
    "Reason",
    "UpkeepReport",
    "health",
    "keep_up",
    "plan_compaction",
    "plan_upkeep",
    "policy_of",
    "size",
    "span",
]
