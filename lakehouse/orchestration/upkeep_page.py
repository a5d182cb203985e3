"""Upkeep of a table over time, as an HTML page: files and bytes before and after each turn, and what the turns did.

What a turn did is read elsewhere (`upkeep_history.py`); nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from lakehouse.upkeep import size

SHOWN = 60
"""Turns on a page, the newest ones: more bars than that cannot be told apart."""

_WIDTH, _HEIGHT, _LEFT, _TOP, _FOOT = 960, 170, 90, 28, 26

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Upkeep of {title}</title>
<style>
 body {{ font: 13px system-ui, sans-serif; margin: 24px; background: #fafafa; color: #222 }}
 h1 {{ font-size: 18px }} svg {{ display: block; margin-bottom: 18px }} .axis {{ stroke: #ccc }}
 .before {{ fill: #c3ccd6; color: #8a97a5 }} .after {{ fill: #2f6f9f; color: #2f6f9f }}
 .name {{ font-weight: 600 }} .small {{ fill: #667; font-size: 11px }}
 table {{ border-collapse: collapse }} tr + tr {{ border-top: 1px solid #e4e4e4 }}
 td, th {{ padding: 3px 14px 3px 0; text-align: right; white-space: nowrap }}
 :is(td, th):first-child, :is(td, th):last-child {{ text-align: left }}
</style>
<h1>Upkeep of {title}</h1>
<p>Each pair is one turn: <b class="before">before</b> and <b class="after">after</b>. Times are UTC.</p>
{charts}
<table>
<tr><th>turn</th><th>files before</th><th>after</th><th>bytes before</th><th>after</th><th>what was done</th></tr>
{rows}
</table></html>
"""


@dataclass(frozen=True)
class Turn:
    """One upkeep of a table: the live data files of main and their bytes before and after, and what was done."""

    at: datetime
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    done: str


def draw_turns(title: str, turns: Sequence[Turn]) -> str:
    """The page of one table. `turns`: oldest first, at least one; the newest `SHOWN` are drawn."""
    shown = turns[-SHOWN:]
    charts = [
        _chart(f"Files of {title}", [(turn.files_before, turn.files_after) for turn in shown], shown, "{:,}".format),
        _chart(f"Bytes of {title}", [(turn.bytes_before, turn.bytes_after) for turn in shown], shown, size),
    ]
    rows = (_row(turn) for turn in reversed(shown))
    return _PAGE.format(title=escape(title), charts="\n".join(charts), rows="\n".join(rows))


def _chart(label: str, pairs: Sequence[tuple[int, int]], turns: Sequence[Turn], said: Callable[[int], str]) -> str:
    highest = max(max(pair) for pair in pairs) or 1
    base = _TOP + _HEIGHT
    body = [
        f'<text class="name" x="0" y="16">{escape(label)}</text>',
        f'<text class="small" x="{_LEFT - 8}" y="{_TOP + 8}" text-anchor="end">{said(highest)}</text>',
        f'<text class="small" x="{_LEFT - 8}" y="{base}" text-anchor="end">0</text>',
        f'<line class="axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH}" y2="{base}"/>',
        *_bars(pairs, turns, highest, said),
        *_times(turns),
    ]
    size = f'width="{_WIDTH}" height="{base + _FOOT}"'
    return f'<svg {size} role="img" aria-label="{escape(label)}">\n' + "\n".join(body) + "\n</svg>"


def _bars(
    pairs: Sequence[tuple[int, int]], turns: Sequence[Turn], highest: int, said: Callable[[int], str]
) -> Iterator[str]:
    step = _step(turns)
    width = min(step * 0.4, 28)
    for at, (turn, pair) in enumerate(zip(turns, pairs, strict=True)):
        middle = _LEFT + step * (at + 0.5)
        for kind, value, x in (("before", pair[0], middle - width), ("after", pair[1], middle)):
            height = value / highest * _HEIGHT
            place = f'x="{x:.1f}" y="{_TOP + _HEIGHT - height:.1f}" width="{width:.1f}" height="{height:.1f}"'
            said_now = f"{turn.at:%Y-%m-%d %H:%M} {kind}: {said(value)}"
            yield f'<rect class="{kind}" {place}><title>{said_now}</title></rect>'


def _times(turns: Sequence[Turn]) -> Iterator[str]:
    """As many times below the axis as have room."""
    step = _step(turns)
    every = max(1, round(120 / step))
    for at in range(0, len(turns), every):
        x = _LEFT + step * (at + 0.5)
        said = f"{turns[at].at:%m-%d %H:%M}"
        yield f'<text class="small" x="{x:.1f}" y="{_TOP + _HEIGHT + 16}" text-anchor="middle">{said}</text>'


def _step(turns: Sequence[Turn]) -> float:
    return (_WIDTH - _LEFT) / len(turns)


def _row(turn: Turn) -> str:
    figures = (
        f"{turn.at:%Y-%m-%d %H:%M:%S}",
        f"{turn.files_before:,}",
        f"{turn.files_after:,}",
        size(turn.bytes_before),
        size(turn.bytes_after),
        turn.done,
    )
    return "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in figures) + "</tr>"
