"""The main program of dbt's process: reads a request, runs dbt, reports nodes the moment they end.

dbt's own console is silenced; its debug log lies in the folder of the run. Started by `dbt_process.py` only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dbt.cli.main import dbtRunner, dbtRunnerResult
from dbt_common.exceptions import DbtBaseException

from lakehouse.errors import LakehouseError, TransformError
from lakehouse.transform.dbt_parent import Parent
from lakehouse.transform.dbt_process import Request
from lakehouse.transform.events import RawNode, Status, error_values

if TYPE_CHECKING:
    from lakehouse.iceberg import Commit

_QUIET = ("--log-level", "none", "--no-print", "--no-use-colors", "--no-send-anonymous-usage-stats")
_REPORTED = ("model.", "test.", "unit_test.")


class _Reporter:
    """Writes reports one after the other: dbt calls back from several threads."""

    def __init__(self, parent: Parent, outcomes: Mapping[str, Commit | LakehouseError]) -> None:
        self._parent, self._outcomes = parent, outcomes
        self._lock = threading.Lock()
        self._seen: set[str] = set()

    def on_event(self, message: Any) -> None:  # noqa: ANN401  (dbt's protobuf class is made at run time)
        """Dbt's callback: reports a node the moment it ends."""
        if message.info.name == "NodeFinished":
            result = message.data.run_result
            node = message.data.node_info.unique_id
            self.node(node, result.status, result.execution_time, result.message, result.num_failures)

    def node(self, unique_id: str, status: str, seconds: float, text: str | None, failures: int | None) -> None:
        """Report a node, once."""
        with self._lock:
            if unique_id in self._seen or not unique_id.startswith(_REPORTED):
                return
            self._seen.add(unique_id)
        outcome = self._outcomes.get(unique_id)
        node = RawNode(
            unique_id=unique_id,
            status=Status(status) if status in set(Status) else Status.ERROR,
            seconds=seconds,
            message=text or "",
            failures=failures or 0,
            commit=None if isinstance(outcome, LakehouseError) else outcome,
            error=outcome if isinstance(outcome, LakehouseError) else None,
        )
        self._parent.tell({"node": node.to_values()})

    def end(self, error: LakehouseError | None) -> None:
        """The last report: dbt came to its end, or could not begin."""
        self._parent.tell({"end": error_values(error)})


def main() -> None:
    """Run dbt once."""
    parent = Parent.of_this_process()
    request = parent.request()
    reporter = _Reporter(parent, _begun(request, parent))
    result = dbtRunner(callbacks=[reporter.on_event]).invoke([*_QUIET, *request.arguments])
    for node in getattr(result.result, "results", None) or ():
        reporter.node(node.node.unique_id, str(node.status), node.execution_time, node.message, node.failures)
    reporter.end(_trouble(result))
    os._exit(0)  # All is committed and told; tearing down dbt's and DuckDB's state takes a second more.


def _begun(request: Request, parent: Parent) -> Mapping[str, Commit | LakehouseError]:
    """Tell the plugin what the run is; gives what will have come of each model."""
    if not request.run_key:
        return {}
    from lakehouse.transform.dbt_plugin import Run, begin  # noqa: PLC0415  (two seconds that compiling need not pay)

    run = Run(request.settings, request.branch, request.run_key, request.window, parent.ask)
    begin(run)
    return run.outcomes


def _trouble(result: dbtRunnerResult) -> LakehouseError | None:
    """What kept dbt from running nodes. Nodes that failed are no trouble: each has been reported."""
    error = result.exception
    if error is None or isinstance(error, LakehouseError):
        return error
    if isinstance(error, DbtBaseException):
        text = " ".join(str(error).split())
        return TransformError(f"dbt cannot use the models: {text}", remedy="Mend the model or macro that is named.")
    raise error


if __name__ == "__main__":
    main()
