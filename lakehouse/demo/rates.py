"""What one unit of a currency was worth in euro on a day: a pure function of seed, day and currency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from lakehouse.demo.calendar import day_number, day_of, randomness

_BASE = {"EUR": 1.0, "GBP": 1.17, "SEK": 0.088, "USD": 0.92}
_STEP, _PULL = 0.004, 0.97


@dataclass(frozen=True, slots=True)
class Rate:
    """Euro for one unit of the currency, six places; one for the euro itself."""

    date: date
    currency: str
    rate_to_eur: Decimal


def rates(seed: int, since: date, until: date) -> Iterator[Rate]:
    """Every rate from `since` to `until`, both included, by day and currency; there are none before day 1."""
    walks = {currency: (randomness(seed, f"rates {currency}"), 0.0) for currency in sorted(_BASE)}
    for number in range(1, day_number(until) + 1):
        for currency, (rng, distance) in walks.items():
            # A random walk that is drawn back to its base, so that a year later it is still a currency we know.
            further = _PULL * distance + rng.gauss(0, _STEP)
            walks[currency] = (rng, further)
            if day_of(number) >= since:
                value = 1.0 if currency == "EUR" else _BASE[currency] * math.exp(further)
                yield Rate(day_of(number), currency, Decimal(f"{value:.6f}"))
