"""The run launcher that `dagster.yaml` names (`home.py`). How the server is asked is `client.py`."""

from __future__ import annotations

import json
import sys
from typing import Any

import dagster as dg

from lakehouse.orchestration.warm_runs.client import ask

_PROCESS = "lakehouse/process"
"""Tag of a run that the server has forked: its process."""


class WarmRunLauncher(dg.DefaultRunLauncher):
    """Dagster's default launcher, unless `lakehouse ui` serves warm runs on this machine."""

    def launch_run(self, context: Any) -> None:  # noqa: ANN401  (a class that Dagster does not publish)
        """Begin a run. Raises OSError when nobody can say whether it has begun: Dagster fails it then."""
        run: dg.DagsterRun = context.dagster_run
        answer = ask({"run_id": run.run_id, "execute": _arguments(run)}) if _ours(run) else None
        if answer is None or answer["process"] is None:
            super().launch_run(context)
        else:
            self._instance.add_run_tags(run.run_id, {_PROCESS: str(answer["process"])})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run; False when its process is gone."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or _PROCESS not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        self._instance.report_run_canceling(run)
        answer = ask({"interrupt": run_id})
        return answer is not None and bool(answer["found"])


def _ours(run: dg.DagsterRun) -> bool:
    """Whether the run's code is that of this environment: not in a container, nor of another Python."""
    origin = run.job_code_origin
    if origin is None or origin.repository_origin.container_image:
        return False
    return origin.repository_origin.executable_path == sys.executable


def _arguments(run: dg.DagsterRun) -> str:
    """What `dagster api execute_run` wants to know. The instance is that of the environment."""
    origin = json.loads(dg.serialize_value(run.job_code_origin))
    return json.dumps(
        {
            "__class__": "ExecuteRunArgs",
            "pipeline_origin": origin,
            "pipeline_run_id": run.run_id,
            "instance_ref": None,
            "set_exit_code_on_failure": None,
        }
    )
