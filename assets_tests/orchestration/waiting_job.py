"""A job that waits for a file, in a process that has imported what runs need."""

from __future__ import annotations

import atexit
import sys
import time
from pathlib import Path

import dagster as dg

IMPORTED = {"great_expectations", "dbt.cli.main", "lakehouse.orchestration.build", "lakehouse.ingest"}


@dg.op(config_schema={"until": str})
def wait(context) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  (Dagster wants its class, not the class' name)
    """Fails in a process of which this is not true."""
    if missing := IMPORTED - set(sys.modules):
        raise ImportError(str(missing))
    # As DuckDB does, now and then: it waits for its threads when Python takes itself down.
    atexit.register(time.sleep, 3600)
    while not Path(context.op_config["until"]).exists():
        time.sleep(0.02)


@dg.job(executor_def=dg.in_process_executor)
def waiting() -> None:
    """Wait."""
    wait()
