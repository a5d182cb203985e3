"""Which days of a daily table are out of date: how far it has followed each table that it reads.

That is progress in the snapshots of the table itself, so it survives whatever happens to those who ask. Who asks for
the days belongs in `orchestration/`, who computes them in `transform/`.
"""

from lakehouse.changes.advance import advanced
from lakehouse.changes.consumed import Consumed, consumed, consumed_from, position_of, scope_of
from lakehouse.changes.days import Days, Every, days_touched
from lakehouse.changes.edges import Edge, edges_of, unread, unstated
from lakehouse.changes.memory import Memory
from lakehouse.changes.models import stale_models
from lakehouse.changes.stale import Cause, Stale, stale_days
from lakehouse.tables import Reach

__all__ = [
    "Cause",
    "Consumed",
    "Days",
    "Edge",
    "Every",
    "Memory",
    "Reach",
    "Stale",
    "advanced",
    "consumed",
    "consumed_from",
    "days_touched",
    "edges_of",
    "position_of",
    "scope_of",
    "stale_days",
    "stale_models",
    "unread",
    "unstated",
]
