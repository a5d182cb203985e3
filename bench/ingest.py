"""Loads: PostgreSQL and JSON lines into bronze, beside a bare loop over the same rows and beside dlt.

The table is TPC-H's lineitem, read by its contract with quarantine and the safety of transactions in flight on, each
load a process of its own. `ingest_vs_bare_loop` is the CPU of a loop from ADBC into a Parquet file, by the same SQL,
over ours; `ingest_vs_dlt_cpu` that of dlt with its pyarrow backend. The server's own CPU is not in any of them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import ingest_steps as steps
from bench import ingest_tables as tables
from bench.report import report

_CHANGED = 10_000
_MILLION = 1e6


def measured(folder: Path, words: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Figures and ratios."""
    rows = tables.make(folder, words.scale, words.lines)
    bare, ours = steps.apart("bare", folder), steps.apart("load", folder)
    if not bare["rows"] == ours["published"] == rows:
        sys.exit(f"of {rows} rows the bare loop read {bare['rows']:.0f}, and {ours['published']:.0f} were loaded")
    changed = tables.touch(folder, _CHANGED)
    increment, nothing = steps.apart("load", folder), steps.apart("load", folder)
    steps.apart("compare", folder)
    rules, lines = steps.apart("rules", folder), steps.apart("lines", folder)
    million = rows / _MILLION
    figures = {
        "ingest_rows": float(rows),
        "ingest_s": ours["s"],
        "ingest_cpu_s": ours["cpu_s"],
        "ingest_cpu_s_per_mrow": ours["cpu_s"] / million,
        "ingest_peak_mb": ours["peak_mb"],
        "bare_loop_cpu_s_per_mrow": bare["cpu_s"] / million,
        "bare_loop_peak_mb": bare["peak_mb"],
        "increment_rows": float(changed),
        "increment_10k_s": increment["s"],
        "increment_nothing_s": nothing["s"],
        "row_rules_cpu_s_per_mrow": rules["cpu_s"] / rules["rows"] * _MILLION,
        "door_cpu_s_per_mrow": rules["door_cpu_s"] / rules["rows"] * _MILLION,
        "jsonl_rows": lines["rows"],
        "jsonl_rows_per_s": lines["rows"] / lines["cpu_s"],
        "jsonl_peak_mb": lines["peak_mb"],
    }
    ratios = {"ingest_vs_bare_loop": bare["cpu_s"] / ours["cpu_s"]}
    for backend in () if words.alone else ("pyarrow", "connectorx"):
        theirs = steps.dlt(folder, backend)
        name = "dlt" if backend == "pyarrow" else f"dlt_{backend}"
        figures |= {
            f"{name}_cpu_s_per_mrow": theirs["cpu_s"] / theirs["rows"] * _MILLION,
            f"{name}_s": theirs["s"],
            f"{name}_peak_mb": theirs["peak_mb"],
        }
        ratios[f"ingest_vs_{name}_cpu"] = figures[f"{name}_cpu_s_per_mrow"] / figures["ingest_cpu_s_per_mrow"]
    return figures, ratios


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="TPC-H's scale factor: 6.0M rows each")
    parser.add_argument("--lines", type=int, default=1_000_000, help="JSON lines")
    parser.add_argument("--alone", action="store_true", help="without dlt")
    parser.add_argument("--install", action="store_true", help="get dlt and TPC-H's generator first, once")
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    if words.install:
        tables.PEER.install(print)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        try:
            figures, ratios = measured(folder, words)
        finally:
            tables.remove(folder)
    report("ingest", figures, ratios, words.json)


if __name__ == "__main__":
    main()
