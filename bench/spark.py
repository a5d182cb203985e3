"""Spark 4 with Iceberg's own procedures, the peer of table upkeep: `python -m bench.spark install` gets it.

Other benchmarks call these; each starts one Spark, whose first measured statement is cold and later ones warm. How
Spark is got and run does not belong here (`spark_home.py`, `spark_session.py`).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.spark_home import find, install
from bench.spark_session import Measured, Spark, spark_session
from lakehouse.errors import LakehouseError

_MB = 1 << 20


def available() -> bool:
    """Whether Spark is installed here, and Java to run it."""
    return find() is not None and shutil.which("java") is not None


def rewrite_data_files(  # noqa: PLR0913  (each by name)
    catalog_uri: str,
    warehouse: str,
    catalog_name: str,
    table: str,
    *,
    runs: int,
    target_mb: int,
    sort_order: str | None = None,
) -> list[Measured]:
    """Compact a table (`silver.orders`) `runs` times; after each it is set back to the snapshot that it had.

    Wall seconds of each, the first cold, with `.cpu_s` and `.peak_mb`. Bin-packing, or sorting by `sort_order`
    (`id ASC`, `zorder(a, b)`). Raises ServiceError when Spark is not there, or refuses.
    """
    how = f", strategy => 'sort', sort_order => '{sort_order}'" if sort_order else ", strategy => 'binpack'"
    options = f"map('target-file-size-bytes', '{target_mb * _MB}', 'min-input-files', '2')"
    with spark_session(catalog_uri, warehouse, catalog_name, memory_mb=6144) as spark:
        before = _snapshot(spark, table)
        spent = []
        for _ in range(runs):
            spent.append(_call(spark, f"rewrite_data_files(table => '{table}'{how}, options => {options})"))
            spark.sql(f"call {spark.catalog}.system.set_current_snapshot('{table}', {before})")
        return spent


def expire_snapshots(  # noqa: PLR0913  (each by name)
    catalog_uri: str,
    warehouse: str,
    catalog_name: str,
    tables: Sequence[str],
    *,
    older_than: datetime,
    retain_last: int = 1,
) -> list[Measured]:
    """Expire the snapshots of each table before `older_than` (with a time zone) but the last ones, files included.

    An expiry cannot be taken back: give as many like tables as figures are wanted; the first is cold. Raises
    ServiceError when Spark is not there, or refuses.
    """
    limits = f"older_than => {_timestamp(older_than)}, retain_last => {retain_last}"
    with spark_session(catalog_uri, warehouse, catalog_name) as spark:
        return [_call(spark, f"expire_snapshots(table => '{table}', {limits})") for table in tables]


def remove_orphan_files(  # noqa: PLR0913  (each by name)
    catalog_uri: str,
    warehouse: str,
    catalog_name: str,
    tables: Sequence[str],
    *,
    older_than: datetime,
    dry_run: bool = False,
) -> list[Measured]:
    """Remove (or only list) files in a table's folder that nothing names, from before `older_than` (with a time zone).

    The first table is cold. Raises ServiceError when Spark is not there, or refuses, as it does below an age of a day.
    """
    limits = f"older_than => {_timestamp(older_than)}, dry_run => {str(dry_run).lower()}"
    with spark_session(catalog_uri, warehouse, catalog_name) as spark:
        return [_call(spark, f"remove_orphan_files(table => '{table}', {limits})") for table in tables]


def _call(spark: Spark, procedure: str) -> Measured:
    return spark.measured(f"call {spark.catalog}.system.{procedure}").spent


def _snapshot(spark: Spark, table: str) -> int:
    rows = spark.sql(f"select snapshot_id from {spark.catalog}.{table}.refs where name = 'main'")
    return int(rows[0]["snapshot_id"])


def _timestamp(at: datetime) -> str:
    return f"timestamp '{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def main() -> None:
    """Get Spark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["install"], help="get Spark and its jars, unless they are there")
    parser.parse_args()
    try:
        install(print)
    except LakehouseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
