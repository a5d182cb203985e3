"""`lakehouse why TABLE`: on one screen, why a table is not newer, and the command to run next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table as Grid
from rich.text import Text

from lakehouse.cli.output import AsJson, err, out, show_json
from lakehouse.settings import load_settings
from lakehouse.tables import TableName, Window

if TYPE_CHECKING:
    from lakehouse.orchestration.why import Answer
    from lakehouse.orchestration.why_last import LastWrite
    from lakehouse.orchestration.why_reasons import Reason

_MOST = 10
"""Lines of reasons: more would not fit one screen."""
_LETTERS = 130
"""Of one reason: a failure may be told at length."""
_SPANS = 3
_DAY = timedelta(days=1)
_NOT_UP_TO_DATE = 1
"""Exit code."""


def why(
    name: Annotated[str, typer.Argument(metavar="TABLE", help="A table, e.g. gold.daily_revenue.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Print why a table is not newer, upstream first, and the command to run next; exit code 1 unless it is up to date.

    Its last publish, days that are out of date, runs, failed rules, kept branches, quarantine, sources with news.
    """
    from lakehouse.contracts import read_tables
    from lakehouse.orchestration.project import ready_models
    from lakehouse.orchestration.upstream import require_declared
    from lakehouse.orchestration.why import why as answer_of

    settings = load_settings()
    wanted = TableName.parse(name)
    # A name that is wrong is said before models are compiled for it.
    require_declared(read_tables(settings.defs), wanted)
    with err.status("looking at the table and all that it is computed from"):
        answer = answer_of(settings, ready_models(settings), wanted)
    if as_json:
        show_json(_json(answer))
    else:
        _show(answer)
    if not answer.up_to_date:
        raise typer.Exit(_NOT_UP_TO_DATE)


def _show(answer: Answer) -> None:
    said = ("is up to date", "bold green") if answer.up_to_date else ("is not up to date", "bold red")
    out.print(Text.assemble((f"{answer.table} ", "bold"), said))
    _show_grid(
        [("last publish", _last(answer.last)), *_written(answer.last), *(("note", note) for note in answer.notes)]
    )
    _show_reasons("why, upstream first", answer.holding)
    _show_reasons("beside that", answer.beside)
    if answer.next is None:
        out.print("\nNothing is to be done.", style="dim")
        return
    # Never folded: it is there to be copied.
    out.print(Text.assemble("\nnext  ", (answer.next.command, "bold")))
    out.print(f"      {answer.next.what_for}", soft_wrap=False, highlight=False)


def _last(last: LastWrite | None) -> str:
    if last is None:
        return "never"
    by = f"run {last.run_id[:8]}" if last.run_id else "another program"
    return f"{_at(last.at)}, {_ago(last.at)} ago, by {by}, snapshot {last.snapshot_id}"


def _written(last: LastWrite | None) -> Iterator[tuple[str, str]]:
    if last is not None and last.days:
        yield "it wrote", days_text(last.days)
    if last is not None:
        newest = f", the newest of {last.newest_day}" if last.newest_day else ""
        yield "it holds", f"{last.rows:,} rows{newest}"


def _show_reasons(title: str, reasons: tuple[Reason, ...]) -> None:
    if not reasons:
        return
    out.print(f"\n{title}:", style="bold")
    _show_grid((str(one.table), one.kind.value, _what(one)) for one in reasons[:_MOST])
    if len(reasons) > _MOST:
        out.print(f"and {len(reasons) - _MOST} more: --json prints all", style="dim")


def _show_grid(rows: Iterable[tuple[str, ...]]) -> None:
    """The last column is folded within the screen, where other tables run out of it."""
    grid = Grid(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for row in rows:
        while len(grid.columns) < len(row):
            grid.add_column(overflow="fold", no_wrap=len(grid.columns) < len(row) - 1)
        grid.add_row(*row)
    out.print(grid, soft_wrap=False, highlight=False)


def _what(reason: Reason) -> str:
    days = f"{days_text(reason.days)}: " if reason.days else ""
    since = f", {_at(reason.at)}" if reason.at else ""
    words = " ".join(reason.what.split())
    return f"{days}{words if len(words) <= _LETTERS else words[:_LETTERS] + '…'}{since}"


def days_text(windows: Sequence[Window]) -> str:
    """Days as people read them: the first spans, and how many days there are in all."""
    count = sum(1 for window in windows for _ in window.days)
    shown = ", ".join(span_text(window).removesuffix(f"..{window.start}") for window in windows[:_SPANS])
    more = ", ..." if len(windows) > _SPANS else ""
    return f"{shown}{more} ({count:,} days)" if count > 1 else shown


def span_text(window: Window) -> str:
    """As programs read it, and as `--window` takes it: both days inclusive."""
    return f"{window.start}..{window.end - _DAY}"


def _json(answer: Answer) -> dict[str, Any]:
    last, step = answer.last, answer.next
    return {
        "table": str(answer.table),
        "up_to_date": answer.up_to_date,
        "last": None if last is None else {**asdict(last), "days": [span_text(window) for window in last.days]},
        "reasons": [
            {
                **asdict(reason),
                "table": str(reason.table),
                "days": [span_text(window) for window in reason.days],
                "holding": reason in answer.holding,
            }
            for reason in answer.reasons
        ],
        "notes": answer.notes,
        "next": None if step is None else asdict(step),
    }


def _at(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _ago(at: datetime) -> str:
    """How long ago, in the largest unit that says something."""
    gone = datetime.now(UTC) - at
    for name, length in (("days", timedelta(days=1)), ("hours", timedelta(hours=1)), ("minutes", timedelta(minutes=1))):
        if gone >= 2 * length:
            return f"{gone // length} {name}"
    return "a moment"
