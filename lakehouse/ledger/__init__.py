"""The lake's own tables (`ops.*`): what was loaded, checked and kept up. One append a run, never one a check.

Each ledger is a `Table` value and a function that records one run. Who runs, and what is concluded, is decided above.
"""

from lakehouse.ledger.checks import CHECKS, CheckRecord, record_checks
from lakehouse.ledger.entries import ledger_table, record
from lakehouse.ledger.loads import LOADS, LoadRecord, record_load
from lakehouse.ledger.orphans import ORPHANS, OrphanLog, OrphanRecord, Sighting, sightings
from lakehouse.ledger.upkeep import UPKEEP, LastTry, UpkeepRecord, last_tries, record_upkeep

__all__ = [
    "CHECKS",
    "LOADS",
    "ORPHANS",
    "UPKEEP",
    "CheckRecord",
    "LastTry",
    "LoadRecord",
    "OrphanLog",
    "OrphanRecord",
    "Sighting",
    "UpkeepRecord",
    "last_tries",
    "ledger_table",
    "record",
    "record_checks",
    "record_load",
    "record_upkeep",
    "sightings",
]
