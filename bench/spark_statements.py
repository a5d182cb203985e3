"""Runs in Spark's own environment, not in ours: one Spark, statements in, answers out, one JSON object a line.

`python spark_statements.py CONFIGURATION`, a JSON file of Spark's options. A statement is `{"sql": "..."}`, its answer
`{"rows": [...], "wall_s", "cpu_s", "peak_mb"}` (CPU and peak memory of this process and the JVM while the
statement ran; null where the system does not tell) or `{"error": "..."}`. Spark ends with its input. Who starts this,
and what for, is `spark_session.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from pyspark.sql import SparkSession


def _cpu_s(pids: list[int]) -> float | None:
    try:
        fields = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    except OSError:
        return None
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def _forget_peak(pids: list[int]) -> None:
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            return


def _peak_mb(pids: list[int]) -> float | None:
    try:
        lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    except OSError:
        return None
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _answer(spark: SparkSession, sql: str, pids: list[int]) -> dict[str, object]:
    _forget_peak(pids)
    cpu, wall = _cpu_s(pids), time.perf_counter()
    rows = spark.sql(sql).collect()
    took, burnt = time.perf_counter() - wall, _cpu_s(pids)
    spent = None if cpu is None or burnt is None else burnt - cpu
    return {
        "rows": [row.asDict(recursive=True) for row in rows],
        "wall_s": took,
        "cpu_s": spent,
        "peak_mb": _peak_mb(pids),
    }


def main() -> None:
    """Answer until the input ends."""
    # The JVM writes to our standard output too: answers go through a copy of it, everything else to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    builder = SparkSession.builder
    for key, value in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")).items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    pids = [os.getpid(), int(spark._jvm.java.lang.ProcessHandle.current().pid())]  # noqa: SLF001  (the only door to it)
    for line in sys.stdin:
        try:
            answer = _answer(spark, json.loads(line)["sql"], pids)
        except Exception as error:  # noqa: BLE001  (whatever it was: who asked gets to know, and may go on)
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer, default=str) + "\n")
        answers.flush()
    spark.stop()


if __name__ == "__main__":
    main()
