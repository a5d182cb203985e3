"""The page of a table's upkeep: bars that stand for what was measured, and nothing that a detail could break out of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.orchestration.upkeep_page import SHOWN, Turn, draw_turns

START = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)


def turn(at: int = 0, files: tuple[int, int] = (6, 1), size: tuple[int, int] = (6000, 1500), done: str = "") -> Turn:
    return Turn(START + timedelta(days=at), *files, *size, done)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314  (a page of ours)


def charts(page: str) -> list[ET.Element]:
    """The drawings of a page, files first."""
    return [parsed(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def bars(chart: ET.Element, kind: str) -> list[tuple[float, str]]:
    """Height and words of the bars of a kind, from left to right."""
    found = [one for one in chart.iter("rect") if one.get("class") == kind]
    return [(float(one.get("height") or 0), one.findtext("title") or "") for one in found]


def test_bars_are_as_high_as_what_they_stand_for() -> None:
    files, size = charts(draw_turns("silver.orders", [turn(0, (40, 4)), turn(1, (10, 5))]))
    (highest, said), (lower, _) = bars(files, "before")
    assert said == "2026-01-01 03:00 before: 40"
    heights = [height / highest for height, _ in (*bars(files, "before"), *bars(files, "after"))]
    # A tenth of a pixel is what heights are rounded to.
    assert heights == pytest.approx([1, 0.25, 0.1, 0.125], abs=0.001)
    assert lower
    assert [words.partition(": ")[2] for _, words in bars(size, "after")] == ["1.5 kB", "1.5 kB"]
    assert [one.get("aria-label") for one in (files, size)] == ["Files of silver.orders", "Bytes of silver.orders"]


def test_the_newest_turn_is_the_first_row_and_the_rightmost_bar() -> None:
    page = draw_turns("t", [turn(0, (9, 1), done="first"), turn(1, (7, 2), done="second")])
    assert page.index(">second<") < page.index(">first<")
    assert [words for _, words in bars(charts(page)[0], "after")] == [
        "2026-01-01 03:00 after: 1",
        "2026-01-02 03:00 after: 2",
    ]


def test_old_turns_leave_the_page() -> None:
    page = draw_turns("t", [turn(at) for at in range(SHOWN + 5)])
    assert len(bars(charts(page)[0], "before")) == SHOWN
    assert page.count("<tr>") == SHOWN + 1
    assert "2026-01-05" not in page
    assert "2026-01-06" in page


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "a & b", '"quoted"', "expected 1; found 2"])
def test_what_was_done_is_text(text: str) -> None:
    page = draw_turns("t", [turn(done=text)])
    assert "<script" not in page
    assert parsed(page[page.index("<table>") : page.index("</html>")]).findall("tr")[1][5].text == text


COUNTS = st.integers(0, 10**15)


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS), min_size=1, max_size=80))
def test_no_bar_leaves_its_drawing_or_lies_on_another(figures: list[tuple[int, int, int, int]]) -> None:
    page = draw_turns("t", [Turn(START + timedelta(hours=at), *one, "") for at, one in enumerate(figures)])
    for chart in charts(page):
        width, height = (float(chart.get(side) or 0) for side in ("width", "height"))
        ends = 0.0
        for bar in chart.iter("rect"):
            x, y, w, h = (float(bar.get(side) or 0) for side in ("x", "y", "width", "height"))
            assert 0 <= x < x + w <= width
            assert 0 <= y <= y + h <= height
            # A tenth of a pixel is what positions are rounded to.
            assert x >= ends - 0.11
            ends = x + w
