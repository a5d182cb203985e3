"""Days in words, as `why` and `backfill` show them."""

from __future__ import annotations

from datetime import date

import pytest

from lakehouse.cli.why import days_text, span_text
from lakehouse.tables import Window


def window(first: int, last: int) -> Window:
    return Window.of_days(date(2026, 1, first), date(2026, 1, last))


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ([], ""),
        ([window(3, 3)], "2026-01-03"),
        ([window(3, 4)], "2026-01-03..2026-01-04 (2 days)"),
        ([window(1, 1), window(5, 9)], "2026-01-01, 2026-01-05..2026-01-09 (6 days)"),
        (
            [window(1, 1), window(3, 3), window(5, 5), window(7, 9)],
            "2026-01-01, 2026-01-03, 2026-01-05, ... (6 days)",
        ),
    ],
)
def test_days_are_short_and_counted(windows: list[Window], said: str) -> None:
    assert days_text(windows) == said


def test_a_span_names_both_days_for_programs() -> None:
    assert (span_text(window(3, 3)), span_text(window(3, 5))) == ("2026-01-03..2026-01-03", "2026-01-03..2026-01-05")
