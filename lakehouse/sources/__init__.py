"""Where rows come from: PostgreSQL, files in a folder, HTTP APIs. Each is behind `SourceReader`.

A source yields Arrow tables of its own columns, with coordinates for each row, and the position it reaches. What a row
must look like is decided at the door (`ingest/`), never here; a source does not know Iceberg.
"""

from lakehouse.sources.arrivals import Arrival
from lakehouse.sources.files import FilesReader
from lakehouse.sources.open import open_source
from lakehouse.sources.options import Options
from lakehouse.sources.reader import Broken, Chunk, Compare, Extract, RangeReader, SourceColumn, SourceReader

__all__ = [
    "Arrival",
    "Broken",
    "Chunk",
    "Compare",
    "Extract",
    "FilesReader",
    "Options",
    "RangeReader",
    "SourceColumn",
    "SourceReader",
    "open_source",
]
