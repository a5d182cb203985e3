"""The simulated shop: a database, payment files and an exchange-rate API that live day by day.

What belongs here: making the sources that the demo and the tests load from, and the truth to compare with. What does
not: loading them. Everything that happens is a function of the seed, the day and the topic, so that advancing thirty
days at once or in pieces gives the same shop.
"""

from lakehouse.demo.calendar import Scale
from lakehouse.demo.services import open_shop
from lakehouse.demo.shop import Shop

__all__ = ["Scale", "Shop", "open_shop"]
