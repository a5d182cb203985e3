"""Quoting for composed SQL: the one place that turns names and values into SQL text."""

from __future__ import annotations


def quote(name: str) -> str:
    """An identifier, quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string, as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
