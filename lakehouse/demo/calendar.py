"""The shop's days and how much happens by each of them. Pure functions; what happens does not belong here."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

FIRST_DAY = date(2026, 1, 1)
MONTH = 30

# Monday to Sunday: people shop towards the weekend.
_WEEK = (0.90, 0.90, 0.95, 1.00, 1.20, 1.25, 0.80)
_DAY_SECONDS = 86_400
_OPENS, _CLOSES = 6 * 3_600, 23 * 3_600


@dataclass(frozen=True, slots=True)
class Scale:
    """How many of each the shop has after its first 30 days. Orders have three items on average."""

    customers: int = 2_000
    products: int = 500
    orders: int = 20_000

    def times(self, factor: float) -> Scale:
        """The same shop, larger or smaller; never without anything."""
        return Scale(
            max(10, round(self.customers * factor)),
            max(5, round(self.products * factor)),
            max(MONTH, round(self.orders * factor)),
        )

    def customers_until(self, number: int) -> int:
        """Customers at the end of the shop's day `number`; 0 is the eve of its first day."""
        first = max(1, round(self.customers * 0.7))
        return first + (self.customers - first) * number // MONTH

    def orders_until(self, number: int) -> int:
        """Orders at the end of the shop's day `number`: also the largest order id by then."""
        return round(self.orders * _weight(number) / _weight(MONTH))


def randomness(seed: int, topic: str, number: int = 0) -> random.Random:
    """A generator of its own for each seed, topic and day."""
    return random.Random(f"{seed}/{topic}/{number}")  # noqa: S311  (a simulation that must repeat, no secret)


def day_number(day: date) -> int:
    """1 for the shop's first day."""
    return (day - FIRST_DAY).days + 1


def day_of(number: int) -> date:
    """The date of the shop's day `number`."""
    return FIRST_DAY + timedelta(days=number - 1)


def moment(seconds: float) -> datetime:
    """The time `seconds` after the start of the shop's first day, moved into the hours between 6 and 23.

    Order is kept: what is later before is not earlier after. Nothing happens in the last hour of a day, so that a load
    that stops a little before the clock still sees the whole day.
    """
    day, within = divmod(math.floor(seconds), _DAY_SECONDS)
    squeezed = _OPENS + within * (_CLOSES - _OPENS) // _DAY_SECONDS
    start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    return start + timedelta(days=day, seconds=squeezed)


@lru_cache(maxsize=1024)
def _weight(number: int) -> float:
    weeks, rest = divmod(max(number, 0), 7)
    return weeks * sum(_WEEK) + sum(_WEEK[day_of(1 + step).weekday()] for step in range(rest))
