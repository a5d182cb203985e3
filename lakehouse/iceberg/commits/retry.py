"""How long a commit that another writer overtook waits before its next attempt, and when it gives up.

What an attempt does is `commit.py` and `branch.py`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from pyiceberg.table import TableProperties

_MS = 1000


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with full jitter: a pause of 0 to min(`most_s`, `first_s` * 2^n) seconds, for `budget_s`.

    Full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015) spreads writers that failed together.
    """

    first_s: float = 0.02
    most_s: float = 0.5
    budget_s: float = 60.0

    @classmethod
    def of(cls, properties: Mapping[str, str]) -> Backoff:
        """As Iceberg's table properties `commit.retry.{min-wait,max-wait,total-timeout}-ms` say, where they do.

        `commit.retry.num-retries` is for writers without a budget of time, and not asked.
        """

        def seconds(key: str, default: float) -> float:
            text = properties.get(key, "")
            return int(text) / _MS if text.isdigit() else default

        return cls(
            seconds(TableProperties.COMMIT_MIN_RETRY_WAIT_MS, cls.first_s),
            seconds(TableProperties.COMMIT_MAX_RETRY_WAIT_MS, cls.most_s),
            seconds(TableProperties.COMMIT_TOTAL_RETRY_TIME_MS, cls.budget_s),
        )

    def pauses(
        self, clock: Callable[[], float] = time.monotonic, draw: Callable[[float, float], float] = random.uniform
    ) -> Iterator[float]:
        """The pause before each further attempt, in seconds; ends when the budget is spent."""
        end, longest = clock() + self.budget_s, self.first_s
        while clock() < end:
            yield draw(0, min(longest, self.most_s))
            longest = min(longest * 2, self.most_s)
