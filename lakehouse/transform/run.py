"""`dbt build` over the lake: starts it, turns what it reports into events, and says what went wrong in our words.

Nothing is published here (`publish.py`), and nothing is written here (`write.py`, in dbt's process).
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lakehouse.errors import LakehouseError, TransformError
from lakehouse.settings import Settings
from lakehouse.tables import Layer, Window
from lakehouse.transform.audits import Audits
from lakehouse.transform.dbt_process import Request, started
from lakehouse.transform.events import BuildFinished, Event, ModelFinished, RawNode, Status, error_of
from lakehouse.transform.folders import dbt_folder, work_folder
from lakehouse.transform.manifest import BY_HAND, Manifest
from lakehouse.transform.project import dbt_arguments, outcome, parse
from lakehouse.transform.source_line import source_line

if TYPE_CHECKING:
    from lakehouse.quality.gate import Gate
    from lakehouse.transform.attribution import Blame

_KEPT_RUNS = 20
_TABLE = re.compile(rf"(?P<before>@|\d*\+)?(?P<name>(?:{'|'.join(Layer)}|staging)\.\w+)(?P<after>\+\d*)?")
_LINE = re.compile(r"\bLINE (\d+):")


def build(  # noqa: PLR0913  (each is a choice of the run's)
    settings: Settings,
    *,
    select: Sequence[str] = (),
    window: Window | None = None,
    branch: str = "main",
    run_key: str,
    gate: Gate | None = None,
    blame: Blame | None = None,
    command: str = "build",
    unit_tests: bool = False,
) -> Generator[Event, None, None]:
    """Run models and their tests, parents first, and yield each as it ends; the last event is a BuildFinished.

    `select` holds names of tables (`silver.orders`, `+gold.fct_orders`) or any selector of dbt's; nothing selects all.
    Models are written to `branch` under `run_key`, and read this branch where a table has it. The contracts' rules are
    judged by `gate` on that branch, between a table and what reads it; without one, every audit is an error. With
    `blame`, a table of which some days are bad does not keep what reads it from being built. `command` is a command of
    dbt that runs nodes: build, run (which audits nothing), test. Unit tests check code, not data: a build of data
    leaves them out.
    Closing the generator kills dbt and all it started. After the last event, the error of the first model that failed
    is raised: TransformError naming file and line, SchemaMismatch, or what the commit raised. Raises what `parse` does.
    A `run_key` names one piece of work on a table: another window needs another key.
    """
    begun = time.monotonic()
    manifest = Manifest.read(parse(settings))
    folder = _run_folder(settings, run_key)
    arguments = [*_arguments(settings, folder, command), *_selection(select, window, manifest)]
    if command in {"build", "test"} and not unit_tests:
        arguments += ["--exclude-resource-type", "unit_test"]
    audits = Audits(gate, manifest, branch, blame)
    counts: Counter[Status] = Counter()
    first: LakehouseError | None = None
    trouble, ended, log = None, False, folder / "stderr.log"
    with started(Request(settings, tuple(arguments), branch, run_key, window), log, audits.answer) as reports:
        if gate is not None and command != "run":
            gate.warm()  # The judge gets ready while dbt does.
        for report in reports:
            if "end" in report:
                trouble, ended = error_of(report["end"]), True
                continue
            node = RawNode.of(report["node"])
            test = manifest.tests.get(node.unique_id)
            event = _model_event(node, manifest, folder) if test is None else audits.finished(node, test)
            counts[event.status] += 1
            if isinstance(event, ModelFinished):
                first = first or event.error
            yield event
    outcome(trouble, log, ended=ended)
    yield BuildFinished(dict(counts), time.monotonic() - begun)
    if first is not None:
        raise first


def selector(text: str) -> str:
    """A table's name with dbt's graph operators, as dbt selects it; any other selector as it is."""
    found = _TABLE.fullmatch(text)
    return text if found is None else f"{found['before'] or ''}fqn:*.{found['name']}{found['after'] or ''}"


def _arguments(settings: Settings, folder: Path, command: str) -> list[str]:
    parsed = work_folder(settings) / "target" / "partial_parse.msgpack"
    arguments = [*dbt_arguments(command, dbt_folder(settings), folder), "--partial-parse-file-path", str(parsed)]
    # What is in memory is known, and the reports are ours.
    return [*arguments, "--no-populate-cache", "--no-write-json", "--exclude", f"tag:{BY_HAND}"]


def _selection(select: Sequence[str], window: Window | None, manifest: Manifest) -> list[str]:
    arguments = ["--select", *(selector(text) for text in select)] if select else []
    labels = {model.label: model.unique_id for model in manifest.models.values()}
    if select and all(text in labels for text in select):
        # A table is judged by its own tests. One that another table declares on it waits for a build of that table,
        # which may not even exist yet.
        owners = {labels[text] for text in select}
        arguments += sorted(test.name for test in manifest.tests.values() if test.owner in owners and not test.unit)
        arguments += ["--indirect-selection", "empty"]
    if window is not None:  # The flags of dbt's microbatches: unlike --vars they leave the partial parse valid.
        arguments += ["--event-time-start", window.start.isoformat(), "--event-time-end", window.end.isoformat()]
    return arguments


def _run_folder(settings: Settings, run_key: str) -> Path:
    """A folder of its own for each run's compiled SQL and logs, since runs overlap; the oldest ones go."""
    runs = work_folder(settings) / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in sorted(runs.iterdir(), key=lambda folder: folder.stat().st_mtime)[:-_KEPT_RUNS]:
        shutil.rmtree(old, ignore_errors=True)
    name = re.sub(r"[^\w.-]+", "_", run_key)[:80]
    folder = runs / f"{name}-{time.time_ns():x}"
    folder.mkdir()
    return folder


def _model_event(node: RawNode, manifest: Manifest, folder: Path) -> ModelFinished:
    model = manifest.models[node.unique_id]
    return ModelFinished(
        unique_id=node.unique_id,
        name=model.label,
        table=model.table,
        status=node.status,
        seconds=node.seconds,
        message=node.message,
        commit=node.commit,
        error=_error(node, manifest, folder) if node.status is Status.ERROR else None,
    )


def _error(node: RawNode, manifest: Manifest, folder: Path) -> LakehouseError:
    """The error of a model, with the line of its file where DuckDB named one of the compiled SQL."""
    model = manifest.models[node.unique_id]
    error = node.error or TransformError(
        f"model {model.label} fails", found=" ".join(node.message.split()), remedy="Mend the model."
    )
    if not isinstance(error, TransformError):
        return error
    line = ""
    if found := _LINE.search(error.found or ""):
        compiled = next(folder.glob(f"compiled/*/{model.file}"), None)
        number = int(found[1])
        line = f":{source_line(model.raw_sql, compiled.read_text(encoding='utf-8'), number) if compiled else number}"
    return TransformError(f"{model.file}{line}: {error.what}", found=error.found, remedy=error.remedy)
