"""Column lineage as a drawing: an HTML page with one SVG, tables as boxes from left to right, columns joined by curves.

How lineage is found is `lineage.py`. Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape

from lakehouse.tables import TableName
from lakehouse.transform.lineage import Columns

_ROW, _WIDTH, _GAP, _HEAD, _SPACE = 22, 230, 150, 30, 26
_FILL = {"bronze": "#b0713a", "silver": "#71808f", "gold": "#b8902a"}

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Column lineage of {title}</title>
<style>
 body {{ font: 13px system-ui, sans-serif; margin: 24px; background: #fafafa; color: #222 }}
 h1 {{ font-size: 18px }} rect {{ fill: #fff; stroke: #ccc }} .edge {{ fill: none; stroke: #9ab; stroke-width: 1.2 }}
 .head {{ stroke: none }} .name {{ fill: #fff; font-weight: 600 }}
</style>
<h1>Column lineage of {title}</h1>
<svg width="{width}" height="{height}" role="img" aria-label="Column lineage of {title}">
{body}
</svg></html>
"""

Edge = tuple[tuple[TableName, str], tuple[TableName, str]]


@dataclass(frozen=True)
class _Box:
    name: TableName
    columns: tuple[str, ...]
    x: int
    y: int

    @property
    def height(self) -> int:
        return _HEAD + _ROW * len(self.columns)

    def anchor(self, column: str) -> int:
        """The height at which a curve meets the column."""
        return self.y + _HEAD + _ROW * self.columns.index(column) + _ROW // 2


def draw_lineage(name: TableName, lineage: Mapping[TableName, Columns]) -> str:
    """The page of one table: every column that its columns come from, back to bronze."""
    edges = sorted(set(_edges(name, lineage)))
    boxes = _boxes(name, lineage, edges)
    body = [_curve(boxes[source[0]], source[1], boxes[target[0]], target[1]) for source, target in edges]
    body += [line for box in boxes.values() for line in _drawn(box)]
    width = max(box.x for box in boxes.values()) + _WIDTH + 4
    height = max(box.y + box.height for box in boxes.values()) + 4
    return _PAGE.format(title=escape(str(name)), width=width, height=height, body="\n".join(body))


def _edges(name: TableName, lineage: Mapping[TableName, Columns]) -> Iterator[Edge]:
    seen: set[tuple[TableName, str]] = set()
    waiting = [(name, column) for column in lineage.get(name, {})]
    while waiting:
        target = waiting.pop()
        if target in seen:
            continue
        seen.add(target)
        for source in lineage.get(target[0], {}).get(target[1], ()):
            yield source, target
            waiting.append(source)


def _boxes(name: TableName, lineage: Mapping[TableName, Columns], edges: list[Edge]) -> dict[TableName, _Box]:
    columns: dict[TableName, dict[str, None]] = {name: dict.fromkeys(lineage.get(name, {}))}
    for source, target in edges:
        columns.setdefault(source[0], {})[source[1]] = None
        columns.setdefault(target[0], {})[target[1]] = None
    depths = _depths(name, edges)
    deepest, filled = max(depths.values()), dict[int, int]()
    boxes = {}
    for table in sorted(columns):
        depth = depths[table]
        top = filled.get(depth, 2)
        boxes[table] = _Box(table, tuple(columns[table]), (deepest - depth) * (_WIDTH + _GAP) + 2, top)
        filled[depth] = top + boxes[table].height + _SPACE
    return boxes


def _depths(name: TableName, edges: list[Edge]) -> dict[TableName, int]:
    """How many tables lie between each and `name`, by the longest way: an arrow never points back."""
    depths = {name: 0}
    links = {(source[0], target[0]) for source, target in edges}
    for _ in range(len(links)):
        for source, target in links:
            if target in depths:
                depths[source] = max(depths.get(source, 0), depths[target] + 1)
    return depths


def _drawn(box: _Box) -> Iterator[str]:
    fill = _FILL.get(box.name.layer.value, "#555")
    place = f'x="{box.x}" y="{box.y}" width="{_WIDTH}" rx="4"'
    yield f'<rect {place} height="{box.height}"/>'
    yield f'<rect {place} height="{_HEAD - 4}" class="head" style="fill:{fill}"/>'
    yield f'<text class="name" x="{box.x + 10}" y="{box.y + 18}">{escape(str(box.name))}</text>'
    for column in box.columns:
        yield f'<text x="{box.x + 10}" y="{box.anchor(column) + 4}">{escape(column)}</text>'


def _curve(source: _Box, column: str, target: _Box, to_column: str) -> str:
    x1, y1, x2, y2 = source.x + _WIDTH, source.anchor(column), target.x, target.anchor(to_column)
    middle = (x1 + x2) // 2
    return f'<path class="edge" d="M{x1},{y1} C{middle},{y1} {middle},{y2} {x2},{y2}"/>'
