"""What happens outside: payment files that arrive late, an old order that changes, and the truth about both.

Loading any of it does not belong here: nobody acts but the daemon.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import psycopg
from psycopg import Connection

from assets_tests.live.oracle import Content, Row, expected
from lakehouse.services.endpoints import postgres_url
from lakehouse.settings import FilesSource, PostgresSource, Settings
from lakehouse.storage.open import open_store

FIRST_DAY = date(2026, 1, 1)
# An order of the day that is not cancelled and of which no payment was ever sent as it should be.
_UNPAID = """
select order_id, currency, created_at from public.orders
where order_date = %s and status <> 'cancelled'
    and order_id not in (select order_id from truth.payments_sent where defect is null)
order by order_id limit 1
"""
# The shop's day stays, its clock goes on: a load reads up to the clock, and the day's orders are as they were.
_CLOCK = """
create or replace function shop_now() returns timestamptz language sql stable
return (select (day + time '23:59:59') at time zone 'UTC' + interval '{minutes} minutes' from simulation.clock)
"""
_MORE = """
update public.order_items set quantity = quantity + 1, updated_at = shop_now() - interval '30 seconds'
where order_item_id = (
    select min(order_item_id) from public.order_items join public.orders using (order_id)
    where order_date = %s and status in ('paid', 'shipped', 'delivered'))
returning order_id
"""
_TOUCH = "update public.orders set updated_at = shop_now() - interval '30 seconds' where order_id = %s"


def day(number: int) -> date:
    """The date of the shop's day `number`; 1 is its first."""
    return FIRST_DAY + timedelta(days=number - 1)


class Sources:
    """The shop's database and its landing zone."""

    def __init__(self, settings: Settings) -> None:
        shop, landing = settings.sources["shop"], settings.sources["landing"]
        assert isinstance(shop, PostgresSource)
        assert isinstance(landing, FilesSource)
        self._settings, self._shop = settings, shop
        self._landing = open_store(settings, landing.root)
        self._sent = self._minutes = 0

    def deliver(self, *days: date) -> tuple[str, ...]:
        """Put a file for each of these days, each with one payment of an order of its day that was never paid."""
        with self._connect() as shop:
            files = dict(self._late_file(shop, day) for day in days)
        for path, content in files.items():
            self._landing.put(path, content)
        return tuple(files)

    def correct_orders(self, *days: date) -> None:
        """A piece more in an order of each of these days, a moment later than anything that has happened."""
        self._minutes += 1
        # In one transaction: a load sees the clock go on and the orders changed, or neither.
        with self._connect() as shop, shop.transaction():
            shop.execute(_CLOCK.format(minutes=self._minutes).encode())
            for day in days:
                [[order]] = shop.execute(_MORE, [day]).fetchall()
                shop.execute(_TOUCH, [order])

    def truth(self) -> Content:
        """What silver and gold must hold once all of this has reached them."""
        with self._connect() as shop:
            return expected(shop, self._landing)

    def _late_file(self, shop: Connection[Row], day: date) -> tuple[str, bytes]:
        found = shop.execute(_UNPAID, [day]).fetchone()
        assert found, f"no order of {day} waits for its payment"
        order, currency, created = found
        self._sent += 1
        payment = {
            "payment_id": f"P9{self._sent:07}",
            "order_id": order,
            "amount": "1.00",
            "currency": currency,
            "method": "card",
            "paid_at": f"{created + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        }
        return f"payments/payments-{day}-late-{900 + self._sent}.jsonl", f"{json.dumps(payment)}\n".encode()

    @contextmanager
    def _connect(self) -> Iterator[Connection[Row]]:
        address = postgres_url(self._settings, self._shop.url).get_secret_value()
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("set time zone 'UTC'")
            yield connection
