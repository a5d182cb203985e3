"""Progress of long work in the terminal: one bar a piece of work, gone when it is done. What is told is `telemetry`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from lakehouse.cli.output import err
from lakehouse.telemetry import Progress as Step
from lakehouse.telemetry import listening


@contextmanager
def bars() -> Iterator[None]:
    """Draw what running work reports while the block runs, and say a line of each piece when it ends."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as drawn, listening(_Bars(drawn)):
        yield


class _Bars:
    """Draws the reports of running work, one bar a piece of work."""

    def __init__(self, drawn: Progress) -> None:
        self._drawn = drawn
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, step: Step) -> None:
        if step.what not in self._tasks:
            self._tasks[step.what] = self._drawn.add_task(step.what, total=step.total)
        task = self._tasks[step.what]
        self._drawn.update(task, completed=step.done, total=step.total)
        if step.finished:
            self._drawn.remove_task(self._tasks.pop(step.what))
            self._drawn.console.print(f"  {step.what}: {step.done:,} {step.unit}, {step.seconds:.1f} s")
