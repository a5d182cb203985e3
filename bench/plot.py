"""Lines over rounds as an SVG picture, for a page that shows how figures grow. What is drawn does not belong here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 40, 45
_COLOURS = ("#c2410c", "#1d4ed8", "#15803d", "#7e22ce")
_STYLE = "font-family='sans-serif' font-size='12' fill='#334155'"
_MANY_STEPS = 5


@dataclass(frozen=True)
class Panel:
    """One picture: lines by name, each a value for every round from 1 on."""

    title: str
    lines: Mapping[str, Sequence[float]]


def picture(panels: Sequence[Panel], below: str) -> str:
    """An SVG file with the panels one below the other; `below` names the horizontal axis."""
    height = _HEIGHT * len(panels)
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}'>"
    )
    parts = [head, f"<rect width='{_WIDTH}' height='{height}' fill='white'/>"]
    for number, panel in enumerate(panels):
        parts += [f"<g transform='translate(0 {number * _HEIGHT})'>", *_panel(panel, below), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, below: str) -> list[str]:
    rounds = max(len(values) for values in panel.lines.values())
    top = max(max(values) for values in panel.lines.values())
    step = _step(top)
    top = step * ceil(top / step)
    parts = [f"<text x='{_LEFT}' y='18' {_STYLE} font-weight='bold'>{escape(panel.title)}</text>"]
    for number in range(round(top / step) + 1):
        y = _y(number * step, top)
        parts.append(f"<line x1='{_LEFT}' y1='{y}' x2='{_WIDTH - _RIGHT}' y2='{y}' stroke='#e2e8f0'/>")
        parts.append(f"<text x='{_LEFT - 8}' y='{y + 4}' text-anchor='end' {_STYLE}>{number * step:,g}</text>")
    each = max(1, round(_step(rounds)))
    for number in (1, *range(each, rounds + 1, each)):
        x = _x(number, rounds)
        parts.append(f"<text x='{x}' y='{_HEIGHT - _BOTTOM + 18}' text-anchor='middle' {_STYLE}>{number}</text>")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f"<text x='{middle}' y='{_HEIGHT - 8}' text-anchor='middle' {_STYLE}>{escape(below)}</text>")
    for number, (name, values) in enumerate(panel.lines.items()):
        parts += _line(name, values, rounds, top, number)
    return parts


def _line(name: str, values: Sequence[float], rounds: int, top: float, number: int) -> list[str]:
    colour = _COLOURS[number % len(_COLOURS)]
    points = " ".join(f"{_x(at, rounds)},{_y(value, top)}" for at, value in enumerate(values, start=1))
    legend = _LEFT + 200 * number
    return [
        f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>",
        f"<line x1='{legend}' y1='30' x2='{legend + 20}' y2='30' stroke='{colour}' stroke-width='2'/>",
        f"<text x='{legend + 26}' y='34' {_STYLE}>{escape(name)}</text>",
    ]


def _x(number: int, rounds: int) -> float:
    return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (number - 1) / max(1, rounds - 1), 1)


def _y(value: float, top: float) -> float:
    return round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top, 1)


def _step(top: float) -> float:
    """A round number of which about five make up the top."""
    raw = max(top, 1e-9) / _MANY_STEPS
    power = 10.0 ** floor(log10(raw))
    return next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw)
