"""The one command to run next, from the reasons why a table is not newer. Pure; the reasons are found elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from lakehouse.orchestration.why_reasons import STATE, Kind, Reason
from lakehouse.tables import Layer, Table

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Next:
    """A command, and in a few words what it is for."""

    command: str
    what_for: str


def next_step(table: Table, reasons: Sequence[Reason]) -> Next | None:
    """What to do first about the reasons, which stand upstream first; None when nothing is to be done.

    What a run is at already is left to it; then whatever stopped the work is looked at before the work is run again;
    then what lies furthest upstream: bronze is loaded before models are built.
    """
    if not any(reason.kind in STATE for reason in reasons):
        return None
    # Refused rows hold nothing back, and show why a load failed.
    reasons = [one for one in reasons if not one.beside or one.kind is Kind.QUARANTINE]
    steps = (_wait(table, reasons), _look(reasons), _load(reasons), _build(table, reasons))
    return next((step for step in steps if step is not None), None)


def _wait(table: Table, reasons: Sequence[Reason]) -> Next | None:
    under_way = any(reason.kind is Kind.RUN for reason in reasons)
    return Next(f"lakehouse why {table.name}", "ask again when the run has ended") if under_way else None


def _look(reasons: Sequence[Reason]) -> Next | None:
    """What was found wrong by the last run, where its rows can still be seen."""
    failed = {reason.table for reason in reasons if reason.kind is Kind.FAILED and reason.finding}
    kept = {(reason.table, reason.branch) for reason in reasons if reason.kind is Kind.BRANCH}
    for one in reasons:
        if one.kind is Kind.CHECK and (one.table, one.branch) in kept:
            command = f"lakehouse quality check {one.table} --branch {one.branch}"
            return Next(command, "finds the rows that hold it back; mend them, then run it again")
        if one.kind is Kind.BRANCH and one.table in failed:
            return Next(f"lakehouse branch show {one.table} {one.branch}", "shows what is held back")
        if one.kind is Kind.QUARANTINE and one.table in failed:
            return Next(one.remedy, "shows the rows that were refused")
    return None


def _load(reasons: Sequence[Reason]) -> Next | None:
    waiting = [one for one in reasons if one.kind in STATE and one.table.layer is Layer.BRONZE]
    if not waiting:
        return None
    remedy = next((one.remedy for one in waiting if one.remedy), "")
    return Next(f"lakehouse run {_words(waiting)}", remedy or "loads what the sources have")


def _build(table: Table, reasons: Sequence[Reason]) -> Next | None:
    waiting = [one for one in reasons if one.kind in STATE]
    by_days = [one.table for one in waiting if one.days]
    if not table.windowed and not by_days:
        return Next(f"lakehouse run {_words(waiting)}", "builds what is out of date")
    name = table.name if table.windowed else by_days[-1]
    missing = [window for one in waiting if one.kind is Kind.MISSING for window in one.days]
    if not missing:
        return Next(f"lakehouse backfill {name} --stale --upstream", "builds what is out of date, and nothing else")
    first, last = min(window.start for window in missing), max(window.end for window in missing) - _DAY
    return Next(f"lakehouse backfill {name} --from {first} --to {last} --upstream", "builds it for the first time")


def _words(reasons: Iterable[Reason]) -> str:
    return " ".join(dict.fromkeys(str(reason.table) for reason in reasons))
