"""Payment files put into the landing folder or bucket: a day's, those held up for days, and those asked to be late.

What a line looks like does not belong here (`payments.py`). A file appears under its name whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal

from psycopg import Connection

from lakehouse.demo.calendar import Scale, day_number, day_of, randomness
from lakehouse.demo.orders import Order, orders_of, paid_on
from lakehouse.demo.payments import Line, Payment, corrected, damaged_lines, in_cents, line
from lakehouse.demo.schema import AMOUNTS
from lakehouse.storage import Store

# The file of every tenth day, from day 4 on, comes three days late.
_HELD_EVERY, _HELD_FIRST, _HELD_DAYS = 10, 4, 3
_LATE_LINES = 3


class Delivery:
    """Writes files into `payments/` of the landing store and notes every line in `truth.payments_sent`.

    In one transaction. A file is there before it ends; when that fails, the next attempt writes the same file again.
    """

    def __init__(self, landing: Store, seed: int, scale: Scale) -> None:
        self._landing = landing
        self._seed, self._scale = seed, scale

    def deliver(self, connection: Connection, number: int) -> list[str]:
        """The paths of the files that arrive in the evening of day `number`, if nobody asks for late ones."""
        due = [] if _is_held(number) else [number]
        if number > _HELD_DAYS and _is_held(number - _HELD_DAYS):
            due.insert(0, number - _HELD_DAYS)
        return [self._write_day(connection, day) for day in due]

    def deliver_late(self, connection: Connection, number: int, files: int) -> list[str]:
        """Up to `files` files of days before `number`, each with payments of that day's orders never sent before."""
        counted = connection.execute("SELECT count(DISTINCT file) FROM truth.payments_sent WHERE file LIKE '%-late-%'")
        rng = randomness(self._seed, f"late {next(counted)[0]}", number)
        days = rng.sample(range(1, number), max(0, number - 1))
        written: list[str] = []
        before = -1
        while before < len(written) < files:  # a day may send several late files; stop when no day has anything left
            before = len(written)
            for day in days:
                unsent = self._unsent(connection, day, number)[:_LATE_LINES] if len(written) < files else []
                if unsent:
                    name = f"payments-{day_of(day)}-late-{self._late_files(connection, day) + 1}.jsonl"
                    written.append(self._write(connection, name, map(line, self._payments(connection, unsent))))
        return written

    def send_in_cents(self, path: str) -> int:
        """A file again, as a provider sends it who takes cents for units of the currency; how many lines it has."""
        return self._send_again(path, in_cents)

    def send_corrected(self, path: str) -> int:
        """A file that came in cents, as it ought to be; any other as it is. How many lines it has."""
        return self._send_again(path, corrected)

    def _send_again(self, path: str, change: Callable[[str], str]) -> int:
        with self._landing.open(path) as file:
            before = file.read().decode()
        lines = [change(text) for text in before.splitlines()]
        after = "".join(f"{text}\n" for text in lines)
        if after != before:
            self._landing.put(path, after.encode())
        return len(lines)

    def _write_day(self, connection: Connection, day: int) -> str:
        payments = self._payments(connection, paid_on(self._seed, self._scale, day))
        before = list(_sent(connection, _name(day_of(day - 1))))
        rng = randomness(self._seed, "defects", day)
        return self._write(connection, _name(day_of(day)), damaged_lines(payments, before, rng, day))

    def _payments(self, connection: Connection, orders: Sequence[Order]) -> list[Payment]:
        found = connection.execute(AMOUNTS, [[order.order_id for order in orders]])
        amounts: dict[int, Decimal] = dict(found.fetchall())
        return [
            Payment(
                f"P{order.order_id:06d}", order.order_id, amounts[order.order_id], order.currency, order.method, paid_at
            )
            for order in orders
            if (paid_at := order.paid_at) is not None
        ]

    def _unsent(self, connection: Connection, day: int, today: int) -> list[Order]:
        """The withheld orders of a day that were paid before today and are in no file yet."""
        held = [
            order
            for order in orders_of(self._seed, self._scale, day)
            if order.withheld and order.paid_at is not None and day_number(order.paid_at.date()) < today
        ]
        query = "SELECT order_id FROM truth.payments_sent WHERE order_id = ANY(%s)"
        sent = {row[0] for row in connection.execute(query, [[order.order_id for order in held]])}
        return [order for order in held if order.order_id not in sent]

    @staticmethod
    def _late_files(connection: Connection, day: int) -> int:
        query = "SELECT count(DISTINCT file) FROM truth.payments_sent WHERE file LIKE %s"
        return int(next(connection.execute(query, [f"payments-{day_of(day)}-late-%"]))[0])

    def _write(self, connection: Connection, name: str, lines: Iterable[Line]) -> str:
        kept = list(lines)
        path = f"payments/{name}"
        self._landing.put(path, "".join(f"{each.text}\n" for each in kept).encode())
        with connection.cursor().copy("COPY truth.payments_sent FROM STDIN") as copy:
            for each in kept:
                sent = each.payment
                values = (sent.payment_id, sent.order_id, sent.amount, sent.currency, sent.method, sent.paid_at)
                copy.write_row((*values, name, each.defect))
        return path


def _name(day: date) -> str:
    return f"payments-{day}.jsonl"


def _is_held(number: int) -> bool:
    return number % _HELD_EVERY == _HELD_FIRST


def _sent(connection: Connection, file: str) -> Iterator[Payment]:
    """The good lines of a file that was delivered."""
    query = (
        "SELECT payment_id, order_id, amount, currency, method, paid_at FROM truth.payments_sent"
        " WHERE file = %s AND defect IS NULL ORDER BY payment_id"
    )
    for row in connection.execute(query, [file]):
        yield Payment(*row)
