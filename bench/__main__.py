"""`python -m bench [NAME ...]`: run the benchmarks named, or all of them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

_NOT_BENCHMARKS = {"__init__", "__main__", "plot", "proxy", "quality_pandas", "relay", "report", "windows_tables"}
_NOT_BENCHMARKS |= {"environment", "ingest_dlt", "ingest_steps", "ingest_tables"}
_NOT_BENCHMARKS |= {"merge_rows", "merge_spark", "merge_steps"}
_PEERS = {"spark", "spark_home", "spark_jdbc", "spark_session", "spark_statements"}


def main() -> None:
    """Run one after the other: they would disturb each other's figures."""
    modules = {file.stem for file in Path(__file__).parent.glob("*.py")}
    known = sorted(modules - _NOT_BENCHMARKS - _PEERS)
    wanted = sys.argv[1:] or known
    if unknown := [name for name in wanted if name not in known]:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(known)}")
    for name in wanted:
        sys.argv = [name]
        runpy.run_module(f"bench.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
