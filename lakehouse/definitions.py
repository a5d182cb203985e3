"""The code location that Dagster loads: everything is derived from the project's contracts and dbt models."""

from __future__ import annotations

import dagster as dg

from lakehouse.orchestration.project import definitions
from lakehouse.settings import load_settings


@dg.definitions
def defs() -> dg.Definitions:
    """The project that LAKEHOUSE_PROJECT names, or the nearest one above the working directory."""
    return definitions(load_settings())
