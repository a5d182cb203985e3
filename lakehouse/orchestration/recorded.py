"""What a step found, kept: pages of data docs that its checks link to, and its rows in `ops.checks`.

Neither may hide what was found: a failure to write one is logged at once, and raised by the step when it has told
everything else (`StepRecord.trouble`). What is found is the business of `quality/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.settings import Settings
from lakehouse.tables import TableName

if TYPE_CHECKING:
    from lakehouse.iceberg import Lake
    from lakehouse.quality.finding import Finding
    from lakehouse.quality.gate import Gate


@dataclass(frozen=True)
class StepRecord:
    """`pages`: addresses of data docs by table, while they are served. `trouble`: what could not be written, and why.

    A step that failed to keep its record ends as failed, though its tables are published: run again, and the record is
    there.
    """

    pages: Mapping[TableName, str]
    trouble: tuple[Exception, ...]

    def raise_trouble(self) -> None:
        """Raise the first failure, if there is one; to be called when everything else is told."""
        if self.trouble:
            raise self.trouble[0]


def record_step(  # noqa: PLR0913  (each is a fact of the step)
    settings: Settings,
    lake: Lake,
    gate: Gate,
    context: dg.AssetExecutionContext,
    *,
    findings: Iterable[Finding],
    published: Collection[TableName],
) -> StepRecord:
    """Write data docs and `ops.checks`. `published`: tables whose judged snapshot is visible on main."""
    trouble: list[Exception] = []
    pages: dict[TableName, str] = {}

    def docs() -> None:
        from lakehouse.quality.docs import write_docs
        from lakehouse.services.pages import page_url

        for name, page in write_docs(settings, gate.judged, run_id=context.run.run_id).items():
            if (url := page_url(settings, page)) is not None:
                pages[name] = url

    def checks() -> None:
        from lakehouse.ledger import record_checks
        from lakehouse.quality.record import check_records

        records = check_records(findings, published=published, run_id=context.run.run_id, at=datetime.now(UTC))
        record_checks(lake, records, run_key=_run_key(context))

    for what, write in (("data docs", docs), ("ops.checks", checks)):
        error = _tried(write)
        if error is not None:
            context.log.error("%s could not be written: %s", what, error)
            trouble.append(error)
    return StepRecord(pages, tuple(trouble))


def _run_key(context: dg.AssetExecutionContext) -> str:
    """One append a step and attempt: what a second attempt judged is another story."""
    return f"{context.run.run_id}:{context.op_execution_context.op.name}:{context.retry_number}"


def _tried(write: Callable[[], None]) -> Exception | None:
    try:
        write()
    except Exception as error:  # noqa: BLE001  (whatever it is comes second to what was found, and is raised after it)
        return error
    return None
