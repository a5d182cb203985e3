"""The shop's database and landing folder, which live day by day. The modules beside plan what happens on a day.

Every day is a transaction of its own, so that a load between two days, or a kill, sees whole days only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import structlog
from psycopg import Connection
from psycopg import errors as pg
from pydantic import SecretStr

from lakehouse.demo import schema
from lakehouse.demo.calendar import Scale, day_number, day_of
from lakehouse.demo.customers import customer_changes, first_customers, new_customers
from lakehouse.demo.delivery import Delivery
from lakehouse.demo.orders import moving_on, orders_of
from lakehouse.demo.products import first_products, price_changes
from lakehouse.demo.rates import rates
from lakehouse.errors import SettingsError, SourceChanged, SourceError, SourceUnreachable
from lakehouse.storage import Store

_log = structlog.get_logger(__name__)

# Any number, the same for everyone who makes or advances a shop in this database.
_LOCK = 7_301_746
_TEMPORARY = {
    "price_changes": "product_id bigint, factor numeric, changed_at timestamptz",
    "customer_changes": "customer_id bigint, email text, phone text, address text, city text, country text,"
    " next_tier boolean, changed_at timestamptz",
    "order_changes": "order_id bigint, status text, changed_at timestamptz",
    "new_items": "order_item_id bigint, order_id bigint, product_id bigint, quantity integer, discount numeric,"
    " created_at timestamptz",
}


class Shop:
    """A simulated shop in the database at `url`, with payment files in `landing`.

    Seed and scale make the shop what it is; they are kept in the database, and another pair is refused there.
    Errors: SourceUnreachable when the database does not answer, SourceError when it refuses what the shop does.
    """

    def __init__(self, url: SecretStr, landing: Store, seed: int = 7, scale: Scale | None = None) -> None:
        self._url = url
        self.seed = seed
        self.scale = scale or Scale()
        self.landing = landing
        self._delivery = Delivery(landing, self.seed, self.scale)

    def create(self) -> None:
        """Make tables, functions, products and first customers, unless they are there. SettingsError: another shop."""
        with _connect(self._url) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            found = _identity(connection)
            if found is None:
                self._found(connection)
                _log.info("shop_made", seed=self.seed, **dataclasses.asdict(self.scale))
            elif found != (self.seed, self.scale):
                raise SettingsError(
                    "this database holds another shop",
                    expected=f"seed {self.seed}, {self.scale}",
                    found=f"seed {found[0]}, {found[1]}",
                    remedy="Use that seed and scale, or delete the state folder to begin anew.",
                )

    @property
    def day(self) -> int:
        """How many days the shop has lived; 0 before its first. Raises SourceChanged when there is no shop."""
        with _connect(self._url) as connection:
            return current_day(connection)

    def advance(
        self, days: int, late: int = 0, on_progress: Callable[[int, str], None] | None = None
    ) -> tuple[str, ...]:
        """Let the shop live on; answers the paths of the payment files that arrived, those of `late` last.

        `late` is how many files of past days come in at the end, each with payments never sent before; fewer come when
        nothing is left to send. `on_progress` is called with the days done and the date after each day.
        """
        files: list[str] = []
        for done in range(1, days + 1):
            with _connect(self._url) as connection:
                number = _lock(connection) + 1
                self._live(connection, number)
                files += self._delivery.deliver(connection, number)
            if on_progress is not None:
                on_progress(done, str(day_of(number)))
        if late > 0:
            with _connect(self._url) as connection:
                files += self._delivery.deliver_late(connection, _lock(connection), late)
        return tuple(files)

    def newest_file(self) -> str:
        """The path of the newest day's payment file. Raises SourceChanged when none has come yet."""
        files = [file.path for file in self.landing.list("payments/") if "-late-" not in file.path]
        if not files:
            raise SourceChanged("no payment file has come yet", remedy="Let the shop live: `lakehouse demo`.")
        return max(files)

    def send_in_cents(self, path: str) -> int:
        """The provider's mistake: one of its files again, amounts in cents. Answers how many lines the file has."""
        return self._delivery.send_in_cents(path)

    def send_corrected(self, path: str) -> int:
        """The file again as it ought to be. Answers how many lines it has."""
        return self._delivery.send_corrected(path)

    def _found(self, connection: Connection) -> None:
        connection.execute(schema.CREATE)
        row = [day_of(0), self.seed, self.scale.customers, self.scale.products, self.scale.orders]
        connection.execute("INSERT INTO simulation.clock VALUES (true, %s, %s, %s, %s, %s)", row)
        products = first_products(self.seed, self.scale)
        _copy(connection, "products", ((*dataclasses.astuple(one), one.created_at) for one in products))
        customers = first_customers(self.seed, self.scale)
        _copy(connection, "customers", ((*dataclasses.astuple(one), one.created_at) for one in customers))
        connection.execute(schema.FIRST_VERSIONS)

    def _live(self, connection: Connection, number: int) -> None:
        seed, scale = self.seed, self.scale
        connection.execute("UPDATE simulation.clock SET day = %s", [day_of(number)])
        _apply(
            connection, "price_changes", map(dataclasses.astuple, price_changes(seed, scale, number)), schema.REPRICE
        )
        changes = map(dataclasses.astuple, customer_changes(seed, scale, number))
        _apply(connection, "customer_changes", changes, schema.CHANGE_CUSTOMERS)
        joined = new_customers(seed, scale, number)
        _copy(connection, "customers", ((*dataclasses.astuple(one), one.created_at) for one in joined))
        connection.execute(schema.NEW_VERSIONS, [scale.customers_until(number - 1)])
        _apply(connection, "order_changes", moving_on(seed, scale, number), schema.MOVE_ORDERS)
        self._place_orders(connection, number)
        today = day_of(number)
        _copy(connection, "truth.rates", map(dataclasses.astuple, rates(seed, today, today)))

    def _place_orders(self, connection: Connection, number: int) -> None:
        placed = orders_of(self.seed, self.scale, number)
        rows = []
        for order in placed:
            status, updated_at = order.state_on(number) or ("placed", order.created_at)
            head = (order.order_id, order.customer_id, order.order_date, status, order.currency)
            rows.append((*head, order.created_at, updated_at))
        _copy(connection, "orders", rows)
        items = (
            (item.order_item_id, order.order_id, item.product_id, item.quantity, item.discount, order.created_at)
            for order in placed
            for item in order.items
        )
        _apply(connection, "new_items", items, schema.ADD_ITEMS)


def stored_shop(url: SecretStr) -> tuple[int, Scale] | None:
    """Seed and scale of the shop in a database; None when there is none."""
    with _connect(url) as connection:
        return _identity(connection)


def current_day(connection: Connection) -> int:
    """The number of the shop's current day. Raises SourceChanged when there is no shop."""
    try:
        row = connection.execute("SELECT day FROM simulation.clock").fetchone()
    except pg.UndefinedTable:
        row = None
    if row is None:
        raise SourceChanged("there is no shop in this database", remedy="Make it with `lakehouse demo`.")
    return day_number(row[0])


def _lock(connection: Connection) -> int:
    """Wait until nobody else advances the shop, and answer its day."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    return current_day(connection)


def _identity(connection: Connection) -> tuple[int, Scale] | None:
    found = connection.execute("SELECT to_regclass('simulation.clock') IS NOT NULL").fetchone()
    if found is None or not found[0]:
        return None
    row = connection.execute("SELECT seed, customers, products, orders FROM simulation.clock").fetchone()
    return None if row is None else (row[0], Scale(*row[1:]))


def _apply(connection: Connection, table: str, rows: Iterable[Sequence[object]], statement: str) -> None:
    """Copy the rows into a temporary table, and run the statement that uses it."""
    connection.execute(f"CREATE TEMPORARY TABLE {table} ({_TEMPORARY[table]}) ON COMMIT DROP")
    _copy(connection, table, rows)
    connection.execute(f"ANALYZE {table}")
    connection.execute(statement.encode())


def _copy(connection: Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    with connection.cursor().copy(f"COPY {table} FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)


@contextmanager
def _connect(url: SecretStr) -> Iterator[Connection]:
    """A connection that commits at the end, or rolls back; the database's errors become ours."""
    try:
        with psycopg.connect(url.get_secret_value(), connect_timeout=10) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise SourceUnreachable(
            "the shop's database does not answer",
            found=str(error).strip().partition("\n")[0],
            remedy="Run `lakehouse service up`.",
        ) from None
    except psycopg.Error as error:
        raise SourceError(
            "the shop's database refuses what the shop does",
            found=str(error).strip().partition("\n")[0],
            remedy="Delete the state folder to begin anew, unless the message says better.",
        ) from error
