"""The tables of defects in docs/quality.md, made of what was found. What stands around it is written by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from assets_tests.defects.defect import Defect
from assets_tests.defects.verdict import How, Verdict

PAGE = Path(__file__).parents[2] / "docs" / "quality.md"
_NAMED = 3
_YES_NO = {True: "yes", False: "no"}


def table(verdicts: Sequence[tuple[Defect, Verdict]]) -> str:
    """The Markdown of all defects, with a sentence of how many there are of each kind."""
    counts = Counter(verdict.how for _, verdict in verdicts)
    shown = sum(verdict.shown for _, verdict in verdicts)
    said = ", ".join(f"{counts[how]} {how}" for how in How if counts[how])
    lines = [
        f"{len(verdicts)} defects: {said}. Silver or gold show {shown} of them.",
        "",
        "| Defect | What happened | Result | Noticed by | Silver or gold show it |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {' | '.join((defect.name, defect.what, verdict.how, _by(verdict.noticed), _YES_NO[verdict.shown]))} |"
        for defect, verdict in verdicts
    ]
    return "\n".join(lines)


def written(part: str) -> str:
    """One table as the page has it."""
    begin, end = _marks(part)
    return PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].strip()


def write(part: str, markdown: str) -> None:
    """Put a table where the old one is."""
    begin, end = _marks(part)
    head, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _, closed, tail = rest.partition(end)
    assert found, f"{PAGE} lacks the line {begin}"
    assert closed, f"{PAGE} lacks the line {end}"
    PAGE.write_text(f"{head}{begin}\n{markdown}\n{end}{tail}", encoding="utf-8")


def _marks(part: str) -> tuple[str, str]:
    return f"<!-- defects of {part}: written by assets_tests/defects/page.py -->", f"<!-- end of {part} -->"


def _by(noticed: Mapping[str, How]) -> str:
    """The rules that did most, the strongest first."""
    order = list(How)
    ranked = sorted(noticed, key=lambda rule: (order.index(noticed[rule]), rule))
    more = f" and {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
    return "<br>".join(f"`{rule}` ({noticed[rule]})" for rule in ranked[:_NAMED]) + more
