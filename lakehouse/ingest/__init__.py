"""One load: read from a source, split at the door, publish to bronze, quarantine the rest. Nothing is lost or doubled.

Where rows come from is `sources/`; how a commit is made is `iceberg/`; models over bronze are `transform/`.
"""

from lakehouse.ingest.door import Door, Split, split
from lakehouse.ingest.load import LoadResult, load
from lakehouse.ingest.quarantine import quarantine_table

__all__ = ["Door", "LoadResult", "Split", "load", "quarantine_table", "split"]
