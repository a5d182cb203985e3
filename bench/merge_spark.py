"""Spark's MERGE of the same rows in both modes, warm, each on a branch of its own.

How Spark is run is `spark_session.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.spark_session import Measured, spark_session
from lakehouse.iceberg.merge.rules import Way
from lakehouse.settings import Settings


def merges(
    settings: Settings, table: str, rows: Path, ways: Sequence[Way], *, runs: int
) -> dict[Way, dict[str, Measured]]:
    """What each statement took, by its branch; the first of each way is cold. The ways take turns.

    The table keeps the way of the last as its property, which only Spark asks for. Raises ServiceError when Spark is
    not there, or refuses.
    """
    uri, catalog = settings.catalog.uri.get_secret_value(), settings.catalog.name
    took: dict[Way, dict[str, Measured]] = {way: {} for way in ways}
    with spark_session(uri, settings.warehouse, catalog, memory_mb=6144) as spark:
        name = f"{catalog}.{table}"
        for number in range(runs):
            for way in ways:
                branch = f"spark_{way.name.lower()}_{number}"
                spark.sql(f"alter table {name} set tblproperties('write.merge.mode' = '{way.value}')")
                spark.sql(f"alter table {name} create branch {branch}")
                took[way][branch] = spark.measured(
                    f"merge into {name}.branch_{branch} t using parquet.`{rows}` s on t.id = s.id"
                    " when matched then update set * when not matched then insert *"
                ).spent
    return took
