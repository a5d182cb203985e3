"""The simulated shop: what it has after a month, and that it only depends on its seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.demo.statuses import NEXT
from lakehouse.demo import Scale, Shop
from lakehouse.demo.calendar import FIRST_DAY, day_of
from lakehouse.demo.orders import LONGEST_LIFE_DAYS
from lakehouse.demo.rates import rates
from lakehouse.errors import SettingsError, SourceChanged, SourceUnreachable, StateError
from lakehouse.storage import FolderStore

if TYPE_CHECKING:
    from conftest import Month

    NewShop = Callable[..., Month]


TABLES = ("customers", "products", "orders", "order_items")
TRUTH = ("truth.customer_versions", "truth.product_versions", "truth.payments_sent", "truth.rates")


def _everything(month: Month) -> dict[str, object]:
    rows: dict[str, object] = {table: sorted(month.ask(f"SELECT {table}::text FROM {table}")) for table in TABLES}
    rows.update({table: sorted(month.ask(f"SELECT t::text FROM {table} t")) for table in TRUTH})
    return {**rows, **month.lines()}


def test_a_month_has_the_sizes_that_are_promised(month: Month) -> None:
    counts = {table: month.ask(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}
    assert counts == {"customers": 2_000, "products": 500, "orders": 20_000, "order_items": 60_000}
    assert month.shop.day == 30


def test_clock_is_the_end_of_the_day_and_nothing_is_later(month: Month) -> None:
    assert month.ask("SELECT shop_now()") == [(datetime(2026, 1, 30, 23, 59, 59, tzinfo=UTC),)]
    for table in TABLES:
        latest, hours, backwards = month.ask(
            f"SELECT max(updated_at), max(extract(hour FROM updated_at AT TIME ZONE 'UTC')),"
            f" count(*) FILTER (WHERE updated_at < created_at) FROM {table}"
        )[0]
        assert latest < datetime(2026, 1, 30, 23, 0, tzinfo=UTC), table
        assert hours < 23
        assert backwards == 0
    assert month.ask("SELECT min(order_date), max(order_date) FROM orders") == [(FIRST_DAY, date(2026, 1, 30))]
    assert month.ask("SELECT count(*) FROM orders WHERE order_date <> (created_at AT TIME ZONE 'UTC')::date") == [(0,)]


def test_every_watermark_is_indexed(month: Month) -> None:
    indexed = month.ask(
        "SELECT tablename FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%(updated_at)'"
    )
    assert {row[0] for row in indexed} == set(TABLES)


def test_many_customers_change_and_their_last_version_is_what_they_are(month: Month) -> None:
    changed = month.ask("SELECT customer_id FROM truth.customer_versions GROUP BY 1 HAVING count(*) > 1")
    assert len(changed) >= 400
    columns = "name, email, phone, address, city, country, tier"
    difference = (
        f"SELECT customer_id, updated_at, {columns} FROM customers EXCEPT SELECT * FROM"
        f" (SELECT DISTINCT ON (customer_id) customer_id, valid_from, {columns} FROM truth.customer_versions"
        " ORDER BY customer_id, valid_from DESC) last"
    )
    assert month.ask(difference) == []
    assert month.ask(
        "SELECT count(*) FROM customers c WHERE NOT EXISTS (SELECT FROM truth.customer_versions v"
        " WHERE v.customer_id = c.customer_id AND v.valid_from = c.created_at)"
    ) == [(0,)]


@pytest.mark.parametrize("column", ["email", "phone", "address", "city", "tier"])
def test_each_kind_of_change_happens(month: Month, column: str) -> None:
    query = (
        f"SELECT count(*) FROM (SELECT {column} IS DISTINCT FROM lag({column})"
        " OVER (PARTITION BY customer_id ORDER BY valid_from) AS changed,"
        " row_number() OVER (PARTITION BY customer_id ORDER BY valid_from) AS version"
        " FROM truth.customer_versions) v WHERE changed AND version > 1"
    )
    assert month.ask(query)[0][0] > 20


def test_no_version_repeats_the_one_before(month: Month) -> None:
    columns = "name, email, phone, address, city, country, tier"
    query = (
        f"SELECT count(*) FROM (SELECT ({columns})::text = lag(({columns})::text)"
        " OVER (PARTITION BY customer_id ORDER BY valid_from) AS same FROM truth.customer_versions) v WHERE same"
    )
    assert month.ask(query.replace(f"({columns})::text", f"row({columns})::text")) == [(0,)]


def test_prices_change_and_items_keep_the_price_of_their_day(month: Month) -> None:
    assert month.ask("SELECT count(*) FROM truth.product_versions")[0][0] > 700
    assert (
        month.ask(
            "SELECT product_id, updated_at, price FROM products EXCEPT SELECT * FROM (SELECT DISTINCT ON (product_id)"
            " product_id, valid_from, price FROM truth.product_versions ORDER BY product_id, valid_from DESC) last"
        )
        == []
    )
    assert month.ask(
        "SELECT count(*) FROM order_items i WHERE unit_price <> (SELECT price FROM truth.product_versions v"
        " WHERE v.product_id = i.product_id AND v.valid_from <= i.created_at ORDER BY valid_from DESC LIMIT 1)"
    ) == [(0,)]
    assert month.ask("SELECT count(*) FROM products WHERE price <= 0") == [(0,)]


def test_orders_are_in_every_state_and_only_recent_ones_are_on_their_way(month: Month) -> None:
    counts = dict(month.ask("SELECT status, count(*) FROM orders GROUP BY 1"))
    assert set(counts) == set(NEXT)
    assert 0.05 < counts["cancelled"] / 20_000 < 0.09
    open_since = month.ask("SELECT min(order_date) FROM orders WHERE status IN ('placed', 'paid', 'shipped')")[0][0]
    assert open_since > date(2026, 1, 30) - timedelta(days=LONGEST_LIFE_DAYS)


def test_orders_have_items_of_customers_who_had_joined(month: Month) -> None:
    assert month.ask("SELECT min(n), max(n) FROM (SELECT count(*) AS n FROM order_items GROUP BY order_id) s") == [
        (1, 5)
    ]
    assert month.ask(
        "SELECT count(*) FROM orders WHERE NOT EXISTS (SELECT FROM order_items i WHERE i.order_id = orders.order_id)"
    ) == [(0,)]
    assert month.ask(
        "SELECT count(*) FROM orders o JOIN customers c USING (customer_id) WHERE o.created_at <= c.created_at"
    ) == [(0,)]


def test_truth_knows_the_rate_of_every_day(month: Month) -> None:
    assert month.ask("SELECT date, currency, rate_to_eur FROM truth.rates ORDER BY 1, 2") == [
        (rate.date, rate.currency, rate.rate_to_eur) for rate in rates(7, FIRST_DAY, date(2026, 1, 30))
    ]


def test_status_moves_forward_day_by_day(new_shop: NewShop) -> None:
    small = new_shop(factor=0.02)
    small.shop.create()
    before: dict[int, tuple[str, datetime]] = {}
    moves: Counter[tuple[str, str]] = Counter()
    for number in range(1, 16):
        small.shop.advance(1)
        assert small.shop.day == number
        now = {row[0]: (row[1], row[2]) for row in small.ask("SELECT order_id, status, updated_at FROM orders")}
        assert before.keys() < now.keys()
        for order, (status, updated_at) in before.items():
            if now[order] != (status, updated_at):
                assert now[order][1] > updated_at
                assert now[order][1].date() == day_of(number)
                moves[status, now[order][0]] += 1
        before = now
    # Over a night an order may take several steps; it never takes one back.
    reachable = {(a, c) for a in NEXT for b in NEXT[a] for c in {b} | NEXT[b] | {d for e in NEXT[b] for d in NEXT[e]}}
    assert set(moves) <= reachable
    assert {("placed", "paid"), ("paid", "shipped"), ("shipped", "delivered"), ("placed", "cancelled")} <= set(moves)


def test_thirty_days_at_once_are_the_same_as_in_pieces(new_shop: NewShop) -> None:
    at_once, in_pieces = new_shop(), new_shop()
    at_once.shop.create()
    at_once.shop.advance(17)
    in_pieces.shop.create()
    for days in (5, 1, 11):
        # A new object each time, as the command line makes one.
        Shop(in_pieces.url, FolderStore(in_pieces.landing), 7, in_pieces.shop.scale).advance(days)
    assert _everything(at_once) == _everything(in_pieces)


def test_another_seed_is_another_shop(new_shop: NewShop) -> None:
    one, other = new_shop(seed=7), new_shop(seed=8)
    for month in (one, other):
        month.shop.create()
        month.shop.advance(1)
    assert one.ask("SELECT count(*) FROM orders") == other.ask("SELECT count(*) FROM orders")
    assert _everything(one)["orders"] != _everything(other)["orders"]


def test_making_it_again_changes_nothing(new_shop: NewShop) -> None:
    small = new_shop()
    small.shop.create()
    small.shop.advance(1)
    before = _everything(small)
    small.shop.create()
    assert _everything(small) == before


def test_two_who_make_it_and_advance_it_at_once_wait_for_each_other(new_shop: NewShop) -> None:
    small, alone = new_shop(factor=0.01), new_shop(factor=0.01)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: small.shop.create(), range(3)))
        list(pool.map(lambda _: small.shop.advance(2), range(3)))
    alone.shop.create()
    alone.shop.advance(6)
    assert _everything(small) == _everything(alone)


def test_failed_day_leaves_no_trace_and_can_be_lived_again(new_shop: NewShop) -> None:
    small, alone = new_shop(factor=0.01), new_shop(factor=0.01)
    small.shop.create()
    small.shop.advance(1)
    (small.landing / "payments").rename(small.landing / "away")
    (small.landing / "payments").write_text("in the way")
    with pytest.raises(StateError, match="payments cannot be written to"):
        small.shop.advance(1)
    assert small.shop.day == 1
    (small.landing / "payments").unlink()
    (small.landing / "away").rename(small.landing / "payments")
    small.shop.advance(1)
    alone.shop.create()
    alone.shop.advance(2)
    assert _everything(small) == _everything(alone)


def test_progress_is_told_after_each_day(new_shop: NewShop) -> None:
    small = new_shop(factor=0.01)
    small.shop.create()
    told: list[tuple[int, str]] = []
    small.shop.advance(3, on_progress=lambda done, text: told.append((done, text)))
    assert told == [(1, "2026-01-01"), (2, "2026-01-02"), (3, "2026-01-03")]


def test_database_that_holds_another_shop(new_shop: NewShop) -> None:
    small = new_shop()
    small.shop.create()
    with pytest.raises(SettingsError, match=r"seed 8.*found seed 7"):
        Shop(small.url, FolderStore(small.landing), 8, small.shop.scale).create()
    with pytest.raises(SettingsError, match="another shop"):
        Shop(small.url, FolderStore(small.landing), 7, Scale()).create()


def test_shop_that_was_never_made(new_shop: NewShop) -> None:
    small = new_shop()
    with pytest.raises(SourceChanged, match="lakehouse demo"):
        _ = small.shop.day
    with pytest.raises(SourceChanged, match="lakehouse demo"):
        small.shop.advance(1)


def test_database_that_does_not_answer_is_not_quoted_with_its_password(tmp_path: Path) -> None:
    shop = Shop(SecretStr("postgresql://someone:hidden@127.0.0.1:1/shop"), FolderStore(tmp_path))
    with pytest.raises(SourceUnreachable) as caught:
        shop.create()
    assert "hidden" not in str(caught.value)


def test_shop_refuses_what_it_could_not_have_done(month: Month) -> None:
    with psycopg.connect(month.url.get_secret_value()) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE order_items SET discount = 0.9 WHERE order_item_id = 11")
