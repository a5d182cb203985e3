"""Runs started from the CLI: the same assets, jobs and instance as in the UI, so that both tell one story.

What is materialized, and in which order, is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import dagster as dg

from lakehouse import errors
from lakehouse.orchestration.bronze import REREAD, WINDOWS
from lakehouse.orchestration.specs import table_key
from lakehouse.orchestration.under_way import BY_HAND
from lakehouse.settings import Settings
from lakehouse.tables import TableName, Window

# Dagster does not offer the class that a failed blocking check raises.
_FINDINGS = {errors.LoadRejected.__name__, errors.AuditFailed.__name__, "DagsterAssetCheckFailedError"}
_STRANGE = "This is not an error that we know: the log of the run, in the UI, says where it came from."
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run config of what is told by the command itself."""


@dataclass(frozen=True)
class Reread:
    """What loads read again: days, or without any everything that their sources have."""

    window: Window | None = None

    def __str__(self) -> str:
        """As the tag of a run says it."""
        return "full" if self.window is None else " to ".join(self._days(self.window))

    def config(self, names: Iterable[TableName]) -> dict[str, Any]:
        """The configuration of the tables' loads (`bronze.LoadConfig`)."""
        said: dict[str, Any] = {"full": True}
        if self.window is not None:
            said = dict(zip(("first_day", "last_day"), self._days(self.window), strict=True))
        return {"__".join(name.key): {"config": said} for name in names}

    @staticmethod
    def _days(window: Window) -> tuple[str, str]:
        return window.start.isoformat(), (window.end - timedelta(days=1)).isoformat()


@dataclass(frozen=True)
class StepFailure:
    """Why a step ended badly, in one sentence that names the remedy.

    A finding is what the work is there to find: a rule that blocks, a load with too many bad rows. Anything else, a
    source that does not answer or SQL that fails, is an error.
    """

    step: str
    reason: str
    finding: bool

    def __str__(self) -> str:
        """As the CLI shows it."""
        return f"{self.step}: {self.reason}"


@dataclass(frozen=True)
class RunReport:
    """What one run did. `checks` are (table, check, passed, severity); `failures` say what went wrong, step by step."""

    run_id: str
    success: bool
    seconds: Mapping[TableName, float]
    windows: tuple[Window, ...]
    checks: tuple[tuple[TableName, str, bool, str], ...]
    failures: tuple[StepFailure, ...]


def run_tables(  # noqa: PLR0913  (what is run, and how it is told)
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    names: Iterable[TableName],
    *,
    also: Sequence[dg.AssetKey] = (),
    window: Window | None = None,
    unreported: str | None = None,
    part_of: Sequence[TableName] = (),
    reread: Reread | None = None,
) -> RunReport:
    """Materialize tables (and `also`, e.g. staging views) in one run of the instance, windowed ones for `window`.

    `part_of`: the tables of a backfill by hand that this is one of the runs of. `reread`: what bronze tables read once
    more of their sources.

    With `unreported`, the name of such a run's job, rules are judged all the same, and hold back what they hold back,
    but make no events of checks: 20 ms each.
    """
    names = list(names)
    keys = [*(table_key(name) for name in names), *also]
    job = defs.resolve_implicit_global_asset_job_def()
    if unreported is not None:
        silent = dg.define_asset_job(unreported, selection=dg.AssetSelection.assets(*keys).without_checks())
        job = dg.Definitions.merge(defs, dg.Definitions(jobs=[silent])).resolve_job_def(unreported)
    result = job.execute_in_process(
        instance=instance,
        asset_selection=keys if unreported is None else None,
        tags={
            **_range_tags(window),
            **({BY_HAND: ",".join(map(str, part_of))} if part_of else {}),
            **({REREAD: str(reread)} if reread else {}),
        },
        run_config={**QUIET, **({"ops": reread.config(names)} if reread else {})},
        raise_on_error=False,
    )
    return RunReport(
        run_id=result.run_id,
        success=result.success,
        seconds=dict(_seconds(result)),
        windows=tuple(_windows(result)),
        checks=tuple(_checks(result)),
        failures=failures_of(result),
    )


def failures_of(result: dg.ExecuteInProcessResult) -> tuple[StepFailure, ...]:
    """What went wrong in a run, step by step; or why it did not come to its first step."""
    return step_failures(result.all_events) or tuple(_run_failures(result))


def step_failures(events: Iterable[dg.DagsterEvent]) -> tuple[StepFailure, ...]:
    """What went wrong in a run, step by step, out of its events."""
    return tuple(_failures(event for event in events if event.is_step_failure))


def run_url(settings: Settings, run_id: str) -> str:
    """Where the UI shows a run, while it runs."""
    return f"http://{settings.ui.host}:{settings.ui.port}/runs/{run_id}"


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


def _failures(events: Iterable[dg.DagsterEvent]) -> Iterable[StepFailure]:
    for event in events:
        data = event.step_failure_data
        step = (event.step_key or "").replace("__", ".")
        if data.user_failure_data is not None:
            # A dg.Failure of ours: the build went through, and its audit holds tables back.
            yield StepFailure(step, data.user_failure_data.description or step, finding=True)
            continue
        causes = []
        error = data.error
        while error:
            causes.append((error.cls_name or "", error.message.strip()))
            error = error.cause
        ours = [cause for cause in causes if _is_ours(cause[0])]
        # Ours stands between Dagster's wrapping and what a library said; a stranger's own words are the innermost.
        kind, text = (ours or causes[-1:] or [("", event.message or "it failed")])[0]
        reason = text.removeprefix(f"{errors.__name__}.{kind}: ") if ours else f"{text}. {_STRANGE}"
        yield StepFailure(step, reason, finding=kind in _FINDINGS)


def _run_failures(result: dg.ExecuteInProcessResult) -> Iterable[StepFailure]:
    """A run may fail before its first step, when a resource or the place for logs cannot be had."""
    for event in result.filter_events(lambda event: event.is_job_event and event.is_failure):
        error = event.job_failure_data.error
        text = error.message.strip() if error is not None else event.message or "it failed"
        yield StepFailure("the run", f"{text}. {_STRANGE}", finding=False)


def _is_ours(kind: str) -> bool:
    known = getattr(errors, kind, None)
    return isinstance(known, type) and issubclass(known, errors.LakehouseError)
