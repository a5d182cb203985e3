"""The whole life of each order, planned on the day it is placed. Pure; the database is not known here.

A life is placed -> paid -> shipped -> delivered, or it ends as cancelled before it is paid or before it is shipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from random import Random

from lakehouse.demo.calendar import Scale, day_number, moment, randomness

_HOUR, _DAY = 3_600, 86_400
# No order lives longer: 36 hours to payment, 60 to shipping, 96 to delivery, and a day for rounding.
LONGEST_LIFE_DAYS = 10
_LONGEST_UNPAID_DAYS = 3
_ITEMS = (1, 2, 3, 4, 5)
# Each value as often as it comes in a hundred: an index into these is much faster than `random.choices`.
_CURRENCIES = ("EUR",) * 55 + ("USD",) * 20 + ("GBP",) * 15 + ("SEK",) * 10
_METHODS = ("card",) * 60 + ("wallet",) * 25 + ("transfer",) * 15
_DISCOUNTS = ("0.00",) * 70 + ("0.05",) * 12 + ("0.10",) * 10 + ("0.20",) * 7 + ("0.50",) * 1
_QUANTITIES = (1,) * 60 + (2,) * 22 + (3,) * 10 + (4,) * 5 + (5,) * 3
# Of a day's paid orders, the share whose payment is sent only in files that come late.
_WITHHELD = 0.02


@dataclass(frozen=True, slots=True)
class Item:
    """A line of an order; the discount is a share of the price."""

    order_item_id: int
    product_id: int
    quantity: int
    discount: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order with everything that will happen to it. `steps`: day number, status and time, in order of time."""

    order_id: int
    customer_id: int
    currency: str
    method: str
    items: tuple[Item, ...]
    steps: tuple[tuple[int, str, datetime], ...]
    withheld: bool

    @property
    def created_at(self) -> datetime:
        """When it was placed."""
        return self.steps[0][2]

    @property
    def order_date(self) -> date:
        """The day it was placed."""
        return self.created_at.date()

    @property
    def paid_at(self) -> datetime | None:
        """When it is paid, if ever."""
        return next((at for _, status, at in self.steps if status == "paid"), None)

    def state_on(self, number: int) -> tuple[str, datetime] | None:
        """Status and time of the last thing that happens to it on that very day, or None."""
        return next(((status, at) for day, status, at in reversed(self.steps) if day == number), None)


@lru_cache(maxsize=2 * LONGEST_LIFE_DAYS)
def orders_of(seed: int, scale: Scale, number: int) -> tuple[Order, ...]:
    """The orders that are placed on the shop's day `number`, by time; their ids go on from the day before."""
    if number < 1:
        return ()
    rng = randomness(seed, "orders", number)
    first = scale.orders_until(number - 1) + 1
    count = scale.orders_until(number) - first + 1
    moments = sorted((number - 1 + rng.random()) * _DAY for _ in range(count))
    sizes = _sizes(rng, count)
    lives = [_life(rng, seconds) for seconds in moments]
    paid = [place for place, steps in enumerate(lives) if any(status == "paid" for _, status, _ in steps)]
    withheld = set(rng.sample(paid, min(len(paid), max(1, round(len(paid) * _WITHHELD)))))
    known = scale.customers_until(number - 1)
    return tuple(
        Order(
            first + place,
            1 + int(known * rng.random() ** 1.5),  # some customers buy more often than others
            _CURRENCIES[int(100 * rng.random())],
            _METHODS[int(100 * rng.random())],
            tuple(_item(rng, first + place, line, scale.products) for line in range(1, size + 1)),
            steps,
            place in withheld,
        )
        for place, (size, steps) in enumerate(zip(sizes, lives, strict=True))
    )


def moving_on(seed: int, scale: Scale, number: int) -> Iterator[tuple[int, str, datetime]]:
    """Order id, status and time of the orders of earlier days that get another status on the shop's day `number`."""
    for day in range(number - LONGEST_LIFE_DAYS, number):
        for order in orders_of(seed, scale, day):
            state = order.state_on(number)
            if state is not None:
                yield (order.order_id, *state)


def paid_on(seed: int, scale: Scale, number: int) -> list[Order]:
    """The orders that are paid on the shop's day `number`, by time, the withheld ones left out."""
    days = range(number - _LONGEST_UNPAID_DAYS, number + 1)
    paid = [
        (order.paid_at, order)
        for day in days
        for order in orders_of(seed, scale, day)
        if not order.withheld and order.paid_at is not None and day_number(order.paid_at.date()) == number
    ]
    return [order for _, order in sorted(paid, key=lambda pair: (pair[0], pair[1].order_id))]


def _sizes(rng: Random, count: int) -> list[int]:
    """How many items each order has: three on average, exactly so over a day."""
    sizes = [*_ITEMS * (count // len(_ITEMS)), *[3] * (count % len(_ITEMS))]
    rng.shuffle(sizes)
    return sizes


def _life(rng: Random, placed: float) -> tuple[tuple[int, str, datetime], ...]:
    steps = [("placed", placed)]
    fate = rng.random()
    if fate < 0.04:  # noqa: PLR2004  (nobody paid)
        steps.append(("cancelled", placed + 2.5 * _DAY))
    else:
        paid = placed + (rng.uniform(0.02, 2) if rng.random() < 0.7 else rng.uniform(2, 36)) * _HOUR  # noqa: PLR2004
        steps.append(("paid", paid))
        if fate < 0.07:  # noqa: PLR2004  (the customer changed their mind)
            steps.append(("cancelled", paid + rng.uniform(1, 24) * _HOUR))
        else:
            shipped = paid + rng.uniform(6, 60) * _HOUR
            steps += [("shipped", shipped), ("delivered", shipped + rng.uniform(18, 96) * _HOUR)]
    timed = [(status, moment(seconds)) for status, seconds in steps]
    return tuple((day_number(at.date()), status, at) for status, at in timed)


def _item(rng: Random, order_id: int, line: int, products: int) -> Item:
    return Item(
        order_id * 10 + line,
        1 + int(products * rng.random() ** 2),
        _QUANTITIES[int(100 * rng.random())],
        _DISCOUNTS[int(100 * rng.random())],
    )
