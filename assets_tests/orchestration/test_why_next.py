"""The one command to run next, from the reasons alone."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from lakehouse.errors import TableMissing
from lakehouse.orchestration.upstream import of_chain, require_declared, upstream_first
from lakehouse.orchestration.why_next import next_step
from lakehouse.orchestration.why_reasons import Kind, Reason
from lakehouse.tables import Table, TableName, Window

SALES, SOLD, REFUNDED, TAKINGS = map(
    TableName.parse, ("bronze.sales", "silver.sales", "silver.refunds", "gold.takings")
)
DAYS = Window.of_days(date(2026, 1, 3), date(2026, 1, 5))
HELD = "load/0a1b"


def table(name: TableName, *, daily: bool) -> Table:
    return Table(name, "kiosk", "", (), Path("x.yaml"), window_column="day" if daily else None)


DAILY, WHOLE = table(TAKINGS, daily=True), table(TAKINGS, daily=False)
NEWS = Reason(SALES, Kind.SOURCE, "source landing has something that is not loaded")
BEHIND = Reason(REFUNDED, Kind.BEHIND, "bronze.refunds changed")
OUT = Reason(TAKINGS, Kind.DAYS, "silver.sales changed there", days=(DAYS,))
NEVER = Reason(TAKINGS, Kind.MISSING, "was never built", days=(DAYS,))
FOUND = Reason(SALES, Kind.FAILED, "run 1: held", finding=True)
BROKE = Reason(SALES, Kind.FAILED, "run 1: the database is gone")
RULE = Reason(SALES, Kind.CHECK, "rule modest: 1 of 3 rows", branch=HELD)
KEPT = Reason(SALES, Kind.BRANCH, "3 rows", branch=HELD)
REFUSED = Reason(SALES, Kind.QUARANTINE, "2 rows wait", remedy='lakehouse query "from quarantine.kiosk_sales limit 20"')
RUN = Reason(SALES, Kind.RUN, "run 2 writes bronze.sales")


@pytest.mark.parametrize(
    ("asked", "reasons", "command"),
    [
        (DAILY, [OUT], "lakehouse backfill gold.takings --stale --upstream"),
        (DAILY, [BEHIND], "lakehouse backfill gold.takings --stale --upstream"),
        (DAILY, [BEHIND, NEVER], "lakehouse backfill gold.takings --from 2026-01-03 --to 2026-01-05 --upstream"),
        # What is asked about has no days, what it reads has.
        (WHOLE, [Reason(SOLD, Kind.DAYS, "x", days=(DAYS,))], "lakehouse backfill silver.sales --stale --upstream"),
        (WHOLE, [BEHIND, Reason(TAKINGS, Kind.MISSING, "x")], "lakehouse run silver.refunds gold.takings"),
        # Bronze first, however much is out of date behind it.
        (DAILY, [NEWS, BEHIND, OUT], "lakehouse run bronze.sales"),
        (DAILY, [Reason(SALES, Kind.MISSING, "was never loaded"), NEVER], "lakehouse run bronze.sales"),
        # An error is told with the reason, and what it stopped is run again; a finding is looked at.
        (DAILY, [NEWS, BROKE, OUT], "lakehouse run bronze.sales"),
        (DAILY, [NEWS, FOUND, RULE, KEPT], f"lakehouse quality check bronze.sales --branch {HELD}"),
        (DAILY, [NEWS, FOUND, KEPT], f"lakehouse branch show bronze.sales {HELD}"),
        (DAILY, [NEWS, FOUND, REFUSED], REFUSED.remedy),
        # The branch was given up, or is of a run that others have followed.
        (DAILY, [NEWS, FOUND, RULE], "lakehouse run bronze.sales"),
        (DAILY, [NEWS, KEPT, REFUSED], "lakehouse run bronze.sales"),
        # Nobody need do what a run does already.
        (DAILY, [NEWS, RUN, FOUND, RULE, KEPT], "lakehouse why gold.takings"),
    ],
)
def test_the_first_thing_to_do_is_named(asked: Table, reasons: list[Reason], command: str) -> None:
    found = next_step(asked, reasons)
    assert found is not None
    assert found.command == command
    assert found.what_for


@pytest.mark.parametrize("reasons", [[], [REFUSED], [RUN], [KEPT, RULE, FOUND]])
def test_what_only_explains_calls_for_nothing(reasons: list[Reason]) -> None:
    assert next_step(DAILY, reasons) is None


def test_a_source_that_cannot_be_asked_says_what_to_do() -> None:
    gone = Reason(SALES, Kind.SOURCE, "its source cannot be asked", remedy="Start the database.")
    found = next_step(DAILY, [gone])
    assert found is not None
    assert (found.command, found.what_for) == ("lakehouse run bronze.sales", "Start the database.")


def test_each_table_stands_behind_what_it_reads() -> None:
    parents = {
        TAKINGS: frozenset({SOLD, REFUNDED, TAKINGS}),
        SOLD: frozenset({SALES}),
        REFUNDED: frozenset({SALES}),
    }
    assert upstream_first(parents, TAKINGS) == (SALES, REFUNDED, SOLD, TAKINGS)
    assert upstream_first(parents, SALES) == (SALES,)
    assert of_chain(parents, (SALES, SOLD)) == {SOLD: frozenset({SALES})}


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    require_declared({TAKINGS: None}, TAKINGS)
    with pytest.raises(TableMissing, match=r"Did you mean gold\.takings"):
        require_declared({TAKINGS: None}, TableName.parse("gold.taking"))
    with pytest.raises(TableMissing, match="lakehouse table list"):
        require_declared({}, TAKINGS)
