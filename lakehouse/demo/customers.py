"""Who the shop's customers are, who joins on a day, and what they change. Pure; the database is not known here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from random import Random

from lakehouse.demo.calendar import Scale, moment, randomness

_DAY = 86_400
_FIRST = (
    "Ada Alan Alice Amina Anna Ben Carlos Chloé Clara Dana David Elif Emma Erik Eva Felix Fatima Greta Hana Hugo Ida "
    "Ines Ivan Jan Jonas José Julia Kai Karin Lars Léa Lena Liam Linus Lucía Maja Marco Mia Mina Nils Noah Nora Olga "
    "Omar Otto Paula Pia Rosa Sami Sara Sofia Sven Tariq Tom Yara Zoë"
)
_LAST = (
    "Almeida Andersson Bakker Bauer Becker Berg Bernard Bianchi Brown Costa Dahl Dubois Evans Fischer Fontaine García "
    "Hansen Hoffmann Ivanova Jansen Johansson Kaya Keller Kowalski Larsen Lindqvist López Martin Meyer Moreau Müller "
    "Nilsson Novák Nyström Öberg Peeters Popescu Ricci Rossi Sanchez Schmidt Silva Smith Visser Wagner Walker Weber"
)
_STREETS = "Birch Bridge Castle Church Elm Field Garden Harbour High Lake Market Mill North Park River School Station"
_CITIES = (
    ("Berlin", "DE", "+49 30"),
    ("Hamburg", "DE", "+49 40"),
    ("Paris", "FR", "+33 1"),
    ("Lyon", "FR", "+33 4"),
    ("Madrid", "ES", "+34 91"),
    ("Rome", "IT", "+39 06"),
    ("Amsterdam", "NL", "+31 20"),
    ("Vienna", "AT", "+43 1"),
    ("Stockholm", "SE", "+46 8"),
    ("Göteborg", "SE", "+46 31"),
    ("London", "GB", "+44 20"),
    ("Leeds", "GB", "+44 113"),
    ("Boston", "US", "+1 617"),
    ("Chicago", "US", "+1 312"),
)
# Of all customers, the share that changes something on a day.
_CHANGING = 0.015


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer on the day of joining."""

    customer_id: int
    name: str
    email: str
    phone: str
    address: str
    city: str
    country: str
    tier: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CustomerChange:
    """What a customer changes at one moment; None stays as it was. `next_tier` moves one tier up, from the top down."""

    customer_id: int
    email: str | None
    phone: str | None
    address: str | None
    city: str | None
    country: str | None
    next_tier: bool
    changed_at: datetime


def first_customers(seed: int, scale: Scale) -> list[Customer]:
    """Those who joined in the year before the shop's first day."""
    rng = randomness(seed, "customers", 0)
    moments = sorted(rng.uniform(-365, -1) * _DAY for _ in range(scale.customers_until(0)))
    return [_customer(rng, number, moment(seconds)) for number, seconds in enumerate(moments, start=1)]


def new_customers(seed: int, scale: Scale, number: int) -> list[Customer]:
    """Those who join on the shop's day `number`."""
    rng = randomness(seed, "customers", number)
    before, after = scale.customers_until(number - 1), scale.customers_until(number)
    moments = sorted((number - 1 + rng.random()) * _DAY for _ in range(after - before))
    return [_customer(rng, before + place, moment(seconds)) for place, seconds in enumerate(moments, start=1)]


def customer_changes(seed: int, scale: Scale, number: int) -> list[CustomerChange]:
    """What customers of the days before change on the shop's day `number`; each at most once a day."""
    rng = randomness(seed, "customer changes", number)
    known = scale.customers_until(number - 1)
    chosen = sorted(rng.sample(range(1, known + 1), max(1, round(known * _CHANGING))))
    return [_change(rng, customer, moment((number - 1 + rng.random()) * _DAY), number) for customer in chosen]


def _customer(rng: Random, customer_id: int, created_at: datetime) -> Customer:
    first, last = rng.choice(_FIRST.split()), rng.choice(_LAST.split())
    city, country, prefix = rng.choice(_CITIES)
    return Customer(
        customer_id,
        f"{first} {last}",
        f"customer{customer_id}@example.com",
        _phone(rng, prefix),
        _address(rng),
        city,
        country,
        rng.choices(("basic", "plus", "premium"), (6, 3, 1))[0],
        created_at,
    )


def _change(rng: Random, customer_id: int, changed_at: datetime, number: int) -> CustomerChange:
    kind = rng.choices(("move", "tier", "contact"), (6, 3, 1))[0]
    city, country, prefix = rng.choice(_CITIES)
    moves, contact = kind == "move", kind == "contact"
    return CustomerChange(
        customer_id,
        email=f"customer{customer_id}.{number}@example.com" if contact else None,
        phone=_phone(rng, prefix) if contact else None,
        address=_address(rng) if moves else None,
        city=city if moves else None,
        country=country if moves else None,
        next_tier=kind == "tier",
        changed_at=changed_at,
    )


def _phone(rng: Random, prefix: str) -> str:
    return f"{prefix} 555 {rng.randrange(10_000):04d}"


def _address(rng: Random) -> str:
    return f"{rng.choice(_STREETS.split())} Street {rng.randint(1, 250)}"
