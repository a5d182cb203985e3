"""PostgreSQL as a source: by a watermark column, by the transaction that wrote a row (`xmin`), or whole (`full`).

`reader.py` is what the three share; `watermark.py`, `xmin.py` and `full.py` each decide which rows a load reads, and
what position it reaches. Which of those rows bronze has already is decided in `ingest/seen.py`, by what the `Extract`
says.
"""

from lakehouse.sources.postgres.full import FullReader
from lakehouse.sources.postgres.reader import PostgresReader
from lakehouse.sources.postgres.watermark import WatermarkReader
from lakehouse.sources.postgres.xmin import XminReader

__all__ = ["FullReader", "PostgresReader", "WatermarkReader", "XminReader"]
