"""The quality report as one HTML file that needs nothing beside it. What stands in it is `report.py`."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from lakehouse.quality.finding import Sample
from lakehouse.quality.report import Report, Result, TableReport

_STYLE = Path(__file__).with_name("docs_site") / "report.css"
_SLIVER = 0.03
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Data quality</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>{style}</style></head>
<body>
<h1>Data quality</h1>
<p class="faint">The last result of every rule in the contracts, as of {at:%Y-%m-%d %H:%M} UTC.</p>
<div class="figures">{figures}</div>
{tables}
</body></html>
"""

_HEAD = (
    "<tr><th>Result<th>Rule<th>Severity<th>Observed<th>Rows that pass<th class=number>Rows that fail"
    "<th>Judged (UTC)<th>Where</tr>"
)


def draw_report(report: Report) -> str:
    """The page: what fails stands first."""
    tables = "\n".join(_table(table) for table in report.tables if table.results)
    nothing = "<section><p>Nothing was judged yet: run a load, and look again.</p></section>"
    return _PAGE.format(
        style=_STYLE.read_text(encoding="utf-8"),
        at=report.at,
        figures="".join(_figures(report)),
        tables=tables or nothing,
    )


def _figures(report: Report) -> Iterator[str]:
    passed = sum(result.passed for result in report.results)
    yield f"<div>{_bar(report.share_passed)}<b>{percent(report.share_passed)}</b>of the rules hold</div>"
    yield f"<div><b>{passed:,} of {len(report.results):,}</b>rules hold</div>"
    yield f"<div><b>{len(report.blocked):,}</b>blocking rules fail</div>"
    yield f"<div><b>{len(report.results) - passed - len(report.blocked):,}</b>warnings</div>"
    if report.unjudged:
        yield f"<div><b>{report.unjudged:,}</b>rules not judged yet</div>"


def percent(share: float | None) -> str:
    """A share as people read it. What is not all of it is never shown as 100 %, nor is something shown as nothing."""
    if share is None:
        return "-"
    text = f"{share:.1%}"
    if text == "100.0%":
        return "100%" if share == 1 else ">99.9%"
    if text == "0.0%":
        return "0%" if share == 0 else "<0.1%"
    return text


def _table(table: TableReport) -> str:
    passed = sum(result.passed for result in table.results)
    unjudged = f"<p class=faint>Not judged yet: {escape(', '.join(table.unjudged))}</p>" if table.unjudged else ""
    return (
        f"<section><header><h2>{table.table}</h2><span>{_bar(table.share_passed)}{passed} of {len(table.results)}"
        f" rules hold</span></header><table><thead>{_HEAD}</thead><tbody>"
        + "".join(map(_row, table.results))
        + f"</tbody></table>{unjudged}</section>"
    )


def _row(result: Result) -> str:
    kind = "passed" if result.passed else "failed" if result.blocks else "warned"
    said = "not judged" if result.outcome.value == "error" else result.outcome.value
    share = "" if result.share_passed is None else _bar(result.share_passed) + percent(result.share_passed)
    failed = "" if result.failed is None else f"{result.failed:,} of {result.rows:,}"
    return (
        f'<tr><td><span class="outcome {kind}">{said}</span>'
        f"<td><strong>{escape(result.rule)}</strong><br><span class=faint>{escape(result.description)}</span>"
        f"<td>{result.severity.value}<td class=observed>{escape(result.observed)}{''.join(_folds(result))}"
        f"<td class=number>{share}<td class=number>{failed}"
        f"<td class=number>{result.at:%Y-%m-%d %H:%M:%S}"
        f"<td class=where>{_where(result)}</tr>"
    )


def _where(result: Result) -> str:
    shown = "published" if result.published else "not published"
    snapshot = f"snapshot {result.snapshot_id}" if result.snapshot_id is not None else "no rows yet"
    run = f'<span title="{escape(result.run_id)}">run {escape(result.run_id[:8])}</span>'
    return f"{escape(result.branch)}, {shown}<br><span class=faint>{snapshot}<br>{run}</span>"


def _folds(result: Result) -> Iterator[str]:
    if result.sample:
        yield f"<details><summary>Some of these rows</summary>{_sample(result.sample)}</details>"
    if result.sql:
        yield f"<details><summary>SQL</summary><pre>{escape(result.sql)}</pre></details>"


def _sample(rows: tuple[Sample, ...]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name)}" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_value(row.get(name))}" for name in columns) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _value(value: str | None) -> str:
    return "<span class=faint>NULL</span>" if value is None else escape(value)


def _bar(share: float | None) -> str:
    if share is None:
        return ""
    # A single row of millions is still to be seen.
    width = share if share in {0, 1} else min(max(share, _SLIVER), 1 - _SLIVER)
    return f'<span class="bar"><i style="width:{width:.1%}"></i></span>'
