"""The lake's own tables (`ops.*`): what was loaded, checked and kept up. One append a run, never one a check.

Each ledger is a `Table` value and a function that records one run. Who runs, and what is concluded, is decided above.
"""

from lakehouse.ledger.checks import CHECKS, CheckRecord, record_checks
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.ledger.loads import LOADS, LoadRecord, record_load
from lakehouse.ledger.orphans import ORPHANS, OrphanLog, OrphanRecord, sightings
from lakehouse.ledger.upkeep import UPKEEP, UpkeepRecord, last_done, record_upkeep

__all__ = [
    "CHECKS",
    "LOADS",
    "ORPHANS",
    "UPKEEP",
    "CheckRecord",
    "LoadRecord",
    "OrphanLog",
    "OrphanRecord",
    "UpkeepRecord",
    "last_done",
    "ledger_table",
    "record",
    "record_checks",
    "record_load",
    "record_upkeep",
    "sightings",
]
