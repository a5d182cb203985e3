"""dlt as a peer of loads: one PostgreSQL table into Iceberg in a folder. Run by the Python that has dlt, not by ours.

`-m bench.ingest_dlt URI FOLDER BACKEND` with the backends `pyarrow` and `connectorx`; it prints what it took, as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from bench.report import peak_mb


def main() -> None:
    """Load the table `lineitem` by its column `updated_at`; say seconds, CPU seconds and the peak of the process."""
    uri, folder, backend = sys.argv[1:4]
    os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}
    import dlt  # noqa: PLC0415  (it reads its settings as it is imported)
    from dlt.sources.sql_database import sql_table  # noqa: PLC0415

    destination = dlt.destinations.filesystem(bucket_url=f"file://{folder}/lake")
    pipeline = dlt.pipeline("peer", pipelines_dir=f"{folder}/pipelines", destination=destination, dataset_name="raw")
    source = sql_table(
        credentials=uri.replace("postgresql://", "postgresql+psycopg2://"),
        table="lineitem",
        backend=backend,
        chunk_size=100_000,
        incremental=dlt.sources.incremental("updated_at"),
        reflection_level="full_with_precision",
    )
    source.apply_hints(table_format="iceberg", write_disposition="append")
    began, cpu = time.perf_counter(), _cpu_s()
    pipeline.run(source)
    counts = pipeline.last_trace.last_normalize_info.row_counts
    took = {"s": time.perf_counter() - began, "cpu_s": _cpu_s() - cpu}
    took |= {"peak_mb": peak_mb(), "rows": counts["lineitem"]}
    print(json.dumps(took))


def _cpu_s() -> float:
    """Of this process and of those that it started and that have ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(of.ru_utime + of.ru_stime for of in both)


if __name__ == "__main__":
    main()
