"""What the shop sells and how its prices move. Pure; the database is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from lakehouse.demo.calendar import Scale, moment, randomness

_DAY = 86_400
_KINDS = {
    "kitchen": ("Kettle", "Pan", "Knife", "Toaster", "Teapot", "Scale"),
    "garden": ("Spade", "Hose", "Lantern", "Planter", "Bench", "Rake"),
    "office": ("Lamp", "Chair", "Desk", "Notebook", "Shelf", "Clock"),
    "sport": ("Ball", "Mat", "Bottle", "Racket", "Helmet", "Rope"),
    "toys": ("Puzzle", "Train", "Kite", "Blocks", "Doll", "Drum"),
}
_STYLES = ("Nordic", "Classic", "Compact", "Studio", "Urban", "Alpine", "Atelier", "Coastal")
# Of all products, the share whose price changes on a day.
_REPRICED = 0.02
# An hour before the shop's day begins, so that a day's orders all have that day's price.
_REPRICING = timedelta(hours=-1)


@dataclass(frozen=True, slots=True)
class Product:
    """A product before the shop's first day; the price is a number in the currency of each order."""

    product_id: int
    name: str
    category: str
    price: Decimal
    created_at: datetime


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A price multiplied by a factor at one moment."""

    product_id: int
    factor: Decimal
    changed_at: datetime


def first_products(seed: int, scale: Scale) -> list[Product]:
    """All products; the shop has them from the beginning."""
    rng = randomness(seed, "products")
    made = []
    for number in range(1, scale.products + 1):
        category = rng.choice(list(_KINDS))
        name = f"{rng.choice(_STYLES)} {rng.choice(_KINDS[category])} {number}"
        price = Decimal(round(100 * min(900.0, 4 + rng.expovariate(1 / 45)))) / 100
        made.append(Product(number, name, category, price, moment(-rng.uniform(1, 365) * _DAY)))
    return made


def price_changes(seed: int, scale: Scale, number: int) -> list[PriceChange]:
    """The prices that change on the morning of the shop's day `number`."""
    rng = randomness(seed, "prices", number)
    chosen = sorted(rng.sample(range(1, scale.products + 1), max(1, round(scale.products * _REPRICED))))
    at = moment((number - 1) * _DAY) + _REPRICING
    return [PriceChange(product, Decimal(rng.randint(900, 1_120)) / 1000, at) for product in chosen]
