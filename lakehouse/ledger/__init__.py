"""The lake's own tables (`ops.*`): what was loaded, checked and kept up. One append a run, never one a check.

Each ledger is a `Table` value and a function that records one run. Who runs, and what is concluded, is decided above.
"""

from lakehouse.ledger.checks import CHECKS, CheckRecord, record_checks
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.ledger.loads import (
    LOAD_SCOPE,
    LOADS,
    LoadCounts,
    LoadRecord,
    load_of,
    record_load,
    record_loads,
    recorded_loads,
)
from lakehouse.ledger.orphans import ORPHANS, OrphanLog, OrphanRecord, Sighting, sightings
from lakehouse.ledger.upkeep import UPKEEP, LastTry, UpkeepRecord, last_tries, record_upkeep

__all__ = [
    "CHECKS",
    "LOADS",
    "LOAD_SCOPE",
    "ORPHANS",
    "UPKEEP",
    "CheckRecord",
    "LastTry",
    "LoadCounts",
    "LoadRecord",
    "OrphanLog",
    "OrphanRecord",
    "Sighting",
    "UpkeepRecord",
    "last_tries",
    "ledger_table",
    "load_of",
    "record",
    "record_checks",
    "record_load",
    "record_loads",
    "record_upkeep",
    "recorded_loads",
    "sightings",
]
