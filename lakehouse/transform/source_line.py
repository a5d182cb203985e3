"""Which line of a model's file a line of its compiled SQL came from. Text only; who asks is `run.py`."""

from __future__ import annotations

from difflib import SequenceMatcher


def source_line(raw: str, compiled: str, line: int) -> int:
    """The line of `raw`, from 1, that line `line` of `compiled` was rendered from, or the nearest that can be told.

    Jinja makes lines longer, more, or fewer; those it leaves alone are the fixed points that others lie between.
    """
    before, after = raw.splitlines(), compiled.splitlines()
    wanted = line - 1
    for tag, start, end, first, last in SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes():
        if first <= wanted < last:
            at = start + wanted - first
            return (at if tag == "equal" else min(at, max(end - 1, start))) + 1
    return min(line, len(before))
