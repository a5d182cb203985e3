"""One load: read from a source, split at the door, publish to bronze, quarantine the rest. Nothing is lost or doubled.

Where rows come from is `sources/`; how a commit is made is `iceberg/`; models over bronze are `transform/`.
"""

from lakehouse.ingest.door import Door, Split, split
from lakehouse.ingest.findings import load_findings, quarantined
from lakehouse.ingest.load import LoadResult, attempt_load, load
from lakehouse.ingest.quarantine import State, quarantine_table
from lakehouse.ingest.replay import ReplayResult, replay
from lakehouse.ingest.states import discard, settle, waiting

__all__ = [
    "Door",
    "LoadResult",
    "ReplayResult",
    "Split",
    "State",
    "attempt_load",
    "discard",
    "load",
    "load_findings",
    "quarantine_table",
    "quarantined",
    "replay",
    "settle",
    "split",
    "waiting",
]
