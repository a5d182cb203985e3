"""Which errors of a load are worth another attempt, and how long it waits for it: one table, and one loop.

An attempt is the whole load, from the position that is there then: so nothing has to be known of how far the last one
came. Who retries smaller things himself (a commit, a GET) does not belong here.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import count
from time import monotonic, sleep
from typing import TypeVar

import structlog

from lakehouse import errors
from lakehouse.errors import LakehouseError
from lakehouse.iceberg import Backoff
from lakehouse.tables import TableName

_log = structlog.get_logger(__name__)
_FIRST_S, _MOST_S = 1.0, 20.0
_NEVER, _ONCE, _WHILE_TIME_LASTS = 0, 1, sys.maxsize
T = TypeVar("T")

AGAIN: Mapping[type[LakehouseError], int] = {
    LakehouseError: _NEVER,
    # What may pass by itself: a server that is restarted, a network that breaks.
    errors.SourceUnreachable: _WHILE_TIME_LASTS,
    errors.CatalogError: _WHILE_TIME_LASTS,
    # Another writer was faster: the next attempt begins from what he has left.
    errors.CommitConflict: _WHILE_TIME_LASTS,
    errors.PublishConflict: _WHILE_TIME_LASTS,
    errors.BranchMissing: _WHILE_TIME_LASTS,
    # Another load was: it is at it, and this one looks only whether something is left.
    errors.Fenced: _ONCE,
    # What only a person mends: grants, contracts, rows, disks, settings.
    errors.SourceError: _NEVER,
    errors.TableMissing: _NEVER,
    errors.CommitError: _NEVER,
    errors.StateError: _NEVER,
    errors.LoadRejected: _NEVER,
    errors.AuditFailed: _NEVER,
}
"""How often a load that failed with an error is tried again at most; of an error that is not named, its kind's."""


def attempts_left(error: LakehouseError, failed: int) -> bool:
    """Whether a load that failed `failed` times with errors of this class is worth another attempt."""
    return failed <= next(AGAIN[kind] for kind in type(error).__mro__ if kind in AGAIN)


def with_retries(attempt: Callable[[int], T], table: TableName, seconds: float) -> T:
    """The attempt's result, tried again with exponential backoff and full jitter.

    `attempt` is given how often it was tried before. `seconds` begin with the first failure, so that what fails after
    hours is tried again too. Raises the last error.
    """
    pauses = Backoff(_FIRST_S, _MOST_S, seconds).pauses(monotonic)
    failed: Counter[type[LakehouseError]] = Counter()
    for tried in count():
        try:
            return attempt(tried)
        except LakehouseError as error:
            failed[type(error)] += 1
            if not attempts_left(error, failed[type(error)]) or (pause := next(pauses, None)) is None:
                raise
            _log.warning("load is tried again", table=str(table), tried=tried + 1, pause_s=pause, reason=str(error))
        sleep(pause)
    raise AssertionError("a count has no end")
