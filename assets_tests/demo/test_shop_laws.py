"""What holds for every shop, whatever its seed, size and days."""

from __future__ import annotations

import json
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st

from assets_tests.demo.statuses import NEXT
from lakehouse.demo import Scale
from lakehouse.demo.calendar import day_number, day_of, moment
from lakehouse.demo.orders import LONGEST_LIFE_DAYS, orders_of
from lakehouse.demo.rates import rates


@given(st.floats(0.001, 20), st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_sizes_grow_and_never_vanish(factor: float, number: int) -> None:
    scale = Scale().times(factor)
    assert scale.orders_until(0) == 0
    assert scale.orders_until(30) == scale.orders
    assert scale.customers_until(30) == scale.customers
    assert 0 < scale.customers_until(number - 1) <= scale.customers_until(number)
    assert scale.orders_until(number - 1) <= scale.orders_until(number)


@given(st.integers(0, 1000), st.integers(1, 60))
@settings(max_examples=25, deadline=None)
def test_every_life_is_one_that_an_order_can_have(seed: int, number: int) -> None:
    scale = Scale().times(0.03)
    placed = orders_of(seed, scale, number)
    assert [order.order_id for order in placed] == list(
        range(scale.orders_until(number - 1) + 1, scale.orders_until(number) + 1)
    )
    for order in placed:
        assert order.order_date == day_of(number)
        assert order.steps[0][1] == "placed"
        assert 1 <= order.customer_id <= scale.customers_until(number - 1)
        for (day, status, at), (next_day, next_status, next_at) in zip(order.steps, order.steps[1:], strict=False):
            assert next_status in NEXT[status]
            assert at <= next_at
            assert day <= next_day <= number + LONGEST_LIFE_DAYS
        assert all(item.order_item_id // 10 == order.order_id for item in order.items)
        assert not order.withheld or order.paid_at is not None


@given(st.lists(st.floats(-400 * 86_400, 400 * 86_400), min_size=2))
def test_moments_keep_their_order_and_their_day(seconds: list[float]) -> None:
    moments = [moment(each) for each in sorted(seconds)]
    assert moments == sorted(moments)
    for each, made in zip(sorted(seconds), moments, strict=True):
        assert day_number(made.date()) == each // 86_400 + 1
        assert 6 <= made.hour < 23


@given(st.integers(0, 50), st.integers(1, 200), st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_a_rate_depends_on_nothing_but_seed_day_and_currency(seed: int, first: int, more: int) -> None:
    part = list(rates(seed, day_of(first), day_of(first + more)))
    whole = list(rates(seed, date(2020, 1, 1), day_of(first + more + 5)))
    assert part == [rate for rate in whole if day_of(first) <= rate.date <= day_of(first + more)]
    assert len(part) == 4 * (more + 1)
    assert all(rate.rate_to_eur == 1 for rate in part if rate.currency == "EUR")
    assert all(0 < rate.rate_to_eur < 2 for rate in part)
    assert json.dumps([str(rate.rate_to_eur) for rate in part]).count("E") == 0
