"""The index of the data docs: every table with its last result and its history, then every run. Only text is made here.

Great Expectations has an index of its own; it is a table that only shows with scripts from servers of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from itertools import groupby

from lakehouse.quality.docs_history import Validation
from lakehouse.tables import TableName

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data docs</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src data:">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css"></head>
<body><header class="frame"><h1>Data docs</h1>
<p>What Great Expectations found about the rules of every contract, before what it judged became visible.</p></header>
<main class="frame">
<h2>Tables</h2>
<table class="grid"><thead><tr><th>Table<th>Last result<th class="number">Rules that hold<th>Judged (UTC)<th>Branch<th>\
History, newest first</tr></thead><tbody>
{tables}
</tbody></table>
<h2>Runs</h2>
<table class="grid"><thead><tr><th>Begun (UTC)<th>Run<th>Tables judged</tr></thead><tbody>
{runs}
</tbody></table>
</main></body></html>
"""


def draw_index(validations: Sequence[Validation]) -> str:
    """The page. `validations`: what the site holds, oldest first."""
    by_table: dict[TableName, list[Validation]] = {}
    for one in reversed(validations):
        by_table.setdefault(one.table, []).append(one)
    # Tables that need a look stand first.
    tables = sorted(by_table.values(), key=lambda those: (_RANK[those[0].outcome], those[0].table))
    runs = sorted(_runs(validations), key=lambda those: those[0].at, reverse=True)
    return _PAGE.format(tables="\n".join(map(_table_row, tables)), runs="\n".join(map(_run_row, runs)))


_RANK = {"failed": 0, "warned": 1, "passed": 2}


def _runs(validations: Iterable[Validation]) -> Iterable[list[Validation]]:
    """By run, and within a run by table."""
    ordered = sorted(validations, key=lambda one: (one.run_id, one.table, one.at))
    return (list(those) for _, those in groupby(ordered, key=lambda one: one.run_id))


def _table_row(those: Sequence[Validation]) -> str:
    last = those[0]
    history = " ".join(
        f'<a class="mark {one.outcome}" href="{_link(one)}" title="{_said(one)}">{_MARK[one.outcome]}</a>'
        for one in those
    )
    return (
        f'<tr><td><a href="{_link(last)}"><strong>{last.table}</strong></a>'
        f'<td><span class="outcome {last.outcome}">{last.outcome}</span>'
        f'<td class="number">{last.passed} of {last.rules}'
        f'<td class="time">{_time(last.at)}<td>{escape(last.branch)}'
        f'<td class="history">{history}</tr>'
    )


_MARK = {"failed": "✕", "warned": "!", "passed": "✓"}


def _run_row(those: Sequence[Validation]) -> str:
    tables = " ".join(
        f'<a class="outcome {one.outcome}" href="{_link(one)}" title="{_said(one)}">{one.table}</a>' for one in those
    )
    begun = min(one.at for one in those)
    run = f'<td class="run"><code>{escape(those[0].run_id)}</code>'
    return f'<tr><td class="time">{_time(begun)}{run}<td>{tables}</tr>'


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _said(one: Validation) -> str:
    words = f"{one.outcome} on {_time(one.at)}: {one.passed} of {one.rules} rules hold; run {one.run_id}"
    return escape(words)


def _link(one: Validation) -> str:
    return escape(one.page)
