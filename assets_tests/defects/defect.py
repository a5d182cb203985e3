"""What can go wrong at the shop, one thing at a time: its name, how it is brought about, and how it would show.

The world it is done to is `world.py`; what was found is `verdict.py`. The rules came first: none was written for one of
these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from assets_tests.defects.world import World
from lakehouse.demo.calendar import day_of

KEPT_DAY = 11
"""The shop's day that every world begins from."""
NEW_DAY = KEPT_DAY + 1
"""The day on which things go wrong. By itself its payment file is without fault."""


@dataclass(frozen=True)
class Defect:
    """One thing that goes wrong.

    `inject` does it to a world that has lived one day more than what is loaded; `days` says how many, if not one.
    `shows` is a query of the published lake: how many rows of silver and gold are wrong because of it.
    """

    name: str
    what: str
    inject: Callable[[World], None]
    shows: str
    days: int = 1


def date(number: int) -> str:
    """A day of the shop as SQL."""
    return f"date '{day_of(number)}'"


def moment(number: int, hour: int = 12) -> str:
    """An hour of a day of the shop as SQL of PostgreSQL and of DuckDB."""
    return f"timestamptz '{day_of(number) + timedelta()} {hour:02d}:00:00+00'"


def statements(*texts: str, loosen: tuple[str, ...] = ()) -> Callable[[World], None]:
    """Run SQL in the shop's database, after it forgot the constraints of the tables `loosen`."""

    def inject(world: World) -> None:
        if loosen:
            world.drop_constraints(*loosen)
        world.sql(*texts)

    return inject
