"""Structured logs: readable in a terminal, JSON in services. Where lines go and what they carry is decided here."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

import structlog


def configure_logs(*, json: bool, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send every line of ours to `stream` (default: standard error), as JSON objects or for people to read."""
    out = stream or sys.stderr
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=out.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([structlog.processors.dict_tracebacks] if json else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )


@contextmanager
def run_logs(*, json: bool, **values: str) -> Iterator[None]:
    """The logs of a run of Dagster: `values` bound, and a format chosen unless the process has one (the CLI does)."""
    if not structlog.is_configured():
        configure_logs(json=json)
    with bound(**values):
        yield


@contextmanager
def bound(**values: str) -> Iterator[None]:
    """Bind values (`run_id`, `asset`, `run_key`) to every line logged inside the block, in this thread or task."""
    with structlog.contextvars.bound_contextvars(**values):
        yield
