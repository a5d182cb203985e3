"""Runs started from the CLI: the same assets, jobs and instance as in the UI, so that both tell one story.

What is materialized, and in which order, is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from lakehouse.orchestration.bronze import WINDOWS
from lakehouse.orchestration.specs import table_key
from lakehouse.tables import TableName, Window

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunReport:
    """What one run did. `checks` are (table, check, passed, severity); `failures` say what went wrong, step by step."""

    run_id: str
    success: bool
    seconds: Mapping[TableName, float]
    windows: tuple[Window, ...]
    checks: tuple[tuple[TableName, str, bool, str], ...]
    failures: tuple[str, ...]


def run_tables(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    names: Iterable[TableName],
    *,
    also: Sequence[dg.AssetKey] = (),
    window: Window | None = None,
) -> RunReport:
    """Materialize tables (and `also`, e.g. staging views) in one run of the instance, windowed ones for `window`."""
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance,
        asset_selection=[*(table_key(name) for name in names), *also],
        tags=_range_tags(window),
        run_config=_QUIET,
        raise_on_error=False,
    )
    return RunReport(
        run_id=result.run_id,
        success=result.success,
        seconds=dict(_seconds(result)),
        windows=tuple(_windows(result)),
        checks=tuple(_checks(result)),
        failures=tuple(_failures(result)),
    )


def _range_tags(window: Window | None) -> dict[str, str]:
    if window is None:
        return {}
    last = window.end - timedelta(days=1)
    return {
        "dagster/asset_partition_range_start": window.start.isoformat(),
        "dagster/asset_partition_range_end": last.isoformat(),
    }


def _name(key: dg.AssetKey) -> TableName:
    return TableName.parse(".".join(key.path))


def _is_table(key: dg.AssetKey) -> bool:
    return len(key.path) == 2 and key.path[0] in {"bronze", "silver", "gold"}  # noqa: PLR2004  (layer and table)


def _metadata(result: dg.ExecuteInProcessResult) -> Iterable[tuple[TableName, Mapping[str, dg.MetadataValue[Any]]]]:
    for event in result.get_asset_materialization_events():
        if event.asset_key and _is_table(event.asset_key):
            yield _name(event.asset_key), event.materialization.metadata


def _seconds(result: dg.ExecuteInProcessResult) -> Iterable[tuple[TableName, float]]:
    for name, metadata in _metadata(result):
        if "lakehouse/seconds" in metadata:
            yield name, float(metadata["lakehouse/seconds"].value)


def _windows(result: dg.ExecuteInProcessResult) -> Iterable[Window]:
    for _, metadata in _metadata(result):
        if WINDOWS in metadata:
            for start, end in metadata[WINDOWS].value:
                yield Window(date.fromisoformat(start), date.fromisoformat(end))


def _checks(result: dg.ExecuteInProcessResult) -> Iterable[tuple[TableName, str, bool, str]]:
    for check in result.get_asset_check_evaluations():
        if _is_table(check.asset_key):
            yield _name(check.asset_key), check.check_name, check.passed, check.severity.value


def _failures(result: dg.ExecuteInProcessResult) -> Iterable[str]:
    for event in result.filter_events(lambda event: event.is_step_failure):
        error = event.step_failure_data.error
        while error and error.cause:
            error = error.cause
        yield f"{event.step_key}: {error.message.strip() if error else event.message}"
