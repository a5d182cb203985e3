"""Payment files: what they hold, what is wrong with them, and which come late."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.demo.calendar import randomness
from lakehouse.demo.payments import Payment, corrected, damaged_lines, in_cents
from lakehouse.demo.payments import line as line_of

if TYPE_CHECKING:
    from conftest import Month

    NewShop = Callable[..., Month]

FIELDS = ["payment_id", "order_id", "amount", "currency", "method", "paid_at"]


def _parsed(line: str) -> dict[str, object] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def test_there_is_a_file_for_every_day(month: Month) -> None:
    days = [date(2026, 1, 1) + timedelta(days=step) for step in range(30)]
    assert list(month.lines()) == [f"payments-{day}.jsonl" for day in days]
    assert sorted(month.files) == [f"payments/payments-{day}.jsonl" for day in days]


def test_files_that_are_held_up_arrive_three_days_after_their_day(month: Month) -> None:
    order = [path.removeprefix("payments/") for path in month.files]
    for day in (4, 14, 24):
        late, beside = f"payments-2026-01-{day:02d}.jsonl", f"payments-2026-01-{day + 3:02d}.jsonl"
        assert order.index(late) == order.index(beside) - 1
        assert month.ask("SELECT count(*) > 0 FROM truth.payments_sent WHERE file = %s", late) == [(True,)]


def test_truth_has_every_line_as_it_was_sent(month: Month) -> None:
    truth = month.ask(
        "SELECT file, payment_id, order_id, amount, currency, method, paid_at, defect FROM truth.payments_sent"
    )
    expected: Counter[tuple[str, str]] = Counter()
    broken: Counter[str] = Counter()
    for file, payment, order, amount, currency, method, paid_at, defect in truth:
        if defect == "broken":
            broken[file] += 1
            continue
        assert (amount is None) == (defect == "no_amount")
        assert (currency == "XXX") == (defect == "unknown_currency")
        line = {"payment_id": payment, "order_id": order, "amount": str(amount), "currency": currency, "method": method}
        line["paid_at"] = f"{paid_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if amount is None:
            del line["amount"]
        expected[file, json.dumps(line)] += 1
    found: Counter[tuple[str, str]] = Counter()
    unreadable: Counter[str] = Counter()
    for file, lines in month.lines().items():
        for text in lines:
            if _parsed(text) is None:
                unreadable[file] += 1
            else:
                found[file, text] += 1
    assert found == expected
    assert unreadable == broken


def test_every_defect_is_there(month: Month) -> None:
    counts = dict(month.ask("SELECT coalesce(defect, 'good'), count(*) FROM truth.payments_sent GROUP BY 1"))
    assert set(counts) == {"good", "broken", "no_amount", "unknown_currency", "repeated"}
    assert min(counts.values()) > 20
    assert counts["good"] > 18_000
    repeats = month.ask(
        "SELECT again.file = first.file, count(*) FROM truth.payments_sent again JOIN truth.payments_sent first"
        " USING (payment_id) WHERE again.defect = 'repeated' AND first.defect IS NULL GROUP BY 1 ORDER BY 1"
    )
    assert [same for same, _ in repeats] == [False, True]


def test_a_payment_is_good_once_at_most_and_worth_its_order(month: Month) -> None:
    assert (
        month.ask("SELECT payment_id FROM truth.payments_sent WHERE defect IS NULL GROUP BY 1 HAVING count(*) > 1")
        == []
    )
    assert month.ask(
        "SELECT count(*) FROM truth.payments_sent p JOIN (SELECT order_id, currency,"
        " sum(round(quantity * unit_price * (1 - discount), 2)) AS gross FROM orders JOIN order_items USING (order_id)"
        " GROUP BY 1, 2) o USING (order_id) WHERE p.defect IS NULL AND (p.amount, p.currency) <> (o.gross, o.currency)"
    ) == [(0,)]
    assert month.ask(
        "SELECT count(*) FROM truth.payments_sent p JOIN orders USING (order_id) WHERE p.paid_at < created_at"
    ) == [(0,)]
    assert month.ask(
        "SELECT count(*) FROM truth.payments_sent JOIN orders USING (order_id) WHERE status = 'placed'"
    ) == [(0,)]


def test_some_payments_wait_for_a_late_file(month: Month) -> None:
    waiting = month.ask(
        "SELECT count(*) FROM orders o WHERE status IN ('paid', 'shipped', 'delivered')"
        " AND NOT EXISTS (SELECT FROM truth.payments_sent p WHERE p.order_id = o.order_id)"
    )[0][0]
    assert 200 < waiting < 600


def test_late_files_bring_payments_of_one_past_day_each_never_sent_before(new_shop: NewShop) -> None:
    small = new_shop(factor=0.1)
    small.shop.create()
    small.shop.advance(9)
    before = {row[0] for row in small.ask("SELECT payment_id FROM truth.payments_sent")}
    rows_before = small.ask("SELECT count(*) FROM orders WHERE order_date < '2026-01-10'")
    files = small.shop.advance(1, late=3)
    assert files[0] == "payments/payments-2026-01-10.jsonl"
    late = files[1:]
    assert len(set(late)) == 3
    for path in late:
        day = date.fromisoformat(path.removeprefix("payments/payments-")[:10])
        assert day < date(2026, 1, 10)
        lines = [_parsed(line) for line in (small.landing / path).read_text().splitlines()]
        assert 1 <= len(lines) <= 3
        for line in lines:
            assert line is not None
            assert list(line) == FIELDS
            assert line["payment_id"] not in before
            assert small.ask("SELECT order_date FROM orders WHERE order_id = %s", line["order_id"]) == [(day,)]
            assert datetime.fromisoformat(str(line["paid_at"])) < datetime(2026, 1, 10, tzinfo=UTC)
    assert small.ask("SELECT count(*) FROM orders WHERE order_date < '2026-01-10'") == rows_before


def test_late_files_may_come_without_a_day_passing_until_nothing_is_left(new_shop: NewShop) -> None:
    small = new_shop(factor=0.02)
    small.shop.create()
    small.shop.advance(6)
    days = small.shop.day
    names: set[str] = set()
    while files := small.shop.advance(0, late=5):
        assert len(files) <= 5
        assert not names & set(files)
        names |= set(files)
    assert small.shop.day == days
    assert len(names) >= 4
    good = small.ask("SELECT count(*), count(DISTINCT payment_id) FROM truth.payments_sent WHERE defect IS NULL")
    assert good[0][0] == good[0][1]


def test_late_files_change_nothing_of_the_days_to_come(new_shop: NewShop) -> None:
    one, other = new_shop(factor=0.05), new_shop(factor=0.05)
    for each, late in ((one, 0), (other, 2)):
        each.shop.create()
        each.shop.advance(5, late=late)
        each.shop.advance(2)
    assert one.lines().items() < other.lines().items()
    assert len(other.lines()) - len(one.lines()) == 2


def test_no_file_is_ever_seen_half_written(new_shop: NewShop) -> None:
    small = new_shop(factor=0.02)
    small.shop.create()
    small.shop.advance(2)
    assert all(not path.name.startswith(".") for path in (small.landing / "payments").iterdir())
    assert all(path.read_text().endswith("\n") for path in Path(small.landing / "payments").iterdir())


def test_every_defect_comes_to_small_shops_too(new_shop: NewShop) -> None:
    small = new_shop(factor=0.02)
    small.shop.create()
    small.shop.advance(14)
    defects = {row[0] for row in small.ask("SELECT DISTINCT defect FROM truth.payments_sent WHERE defect IS NOT NULL")}
    assert defects == {"broken", "no_amount", "unknown_currency", "repeated"}


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_lines_are_the_payments_with_their_defects(count: int, number: int, seed: int) -> None:
    payments = [
        Payment(f"P{place:06d}", place, Decimal("12.30"), "EUR", "card", datetime(2026, 1, 1, 10, tzinfo=UTC))
        for place in range(count)
    ]
    lines = damaged_lines(payments, [], randomness(seed, "defects"), number)
    sent_once = [line for line in lines if line.defect != "repeated"]
    assert [line.payment.payment_id for line in sent_once] == [payment.payment_id for payment in payments]
    assert {line.payment.payment_id for line in lines if line.defect == "repeated"} <= {
        line.payment.payment_id for line in sent_once if line.defect is None
    }
    for line in lines:
        assert (_parsed(line.text) is None) == (line.defect == "broken")
    assert lines == damaged_lines(payments, [], randomness(seed, "defects"), number)


@pytest.mark.parametrize("number", range(1, 8))
def test_repeats_of_an_earlier_file_are_its_own_payments(number: int) -> None:
    at = datetime(2026, 1, 1, 10, tzinfo=UTC)
    today = [Payment(f"P{place}", place, Decimal(1), "EUR", "card", at) for place in range(700)]
    before = [Payment(f"Q{place}", place, Decimal(1), "EUR", "card", at) for place in range(700)]
    lines = damaged_lines(today, before, randomness(7, "defects"), number)
    assert {line.defect for line in lines if line.payment in before} == {"repeated"}


@given(amount=st.decimals(min_value=Decimal("0.01"), max_value=Decimal("99999.99"), places=2))
def test_a_line_in_cents_is_a_hundred_times_as_much_until_it_is_corrected(amount: Decimal) -> None:
    right = line_of(Payment("P000001", 1, amount, "EUR", "card", datetime(2026, 1, 2, tzinfo=UTC))).text
    wrong = in_cents(right)
    assert Decimal(json.loads(wrong)["amount"]) == 100 * amount
    assert {**json.loads(wrong), "amount": None} == {**json.loads(right), "amount": None}
    assert corrected(wrong) == corrected(right) == right
    assert in_cents(wrong) == wrong


def test_lines_without_a_good_amount_are_the_same_in_cents() -> None:
    payment = Payment("P000001", 1, Decimal("2.50"), "EUR", "card", datetime(2026, 1, 2, tzinfo=UTC))
    unknown, missing = line_of(replace(payment, currency="XXX")).text, line_of(replace(payment, amount=None)).text
    for text in (unknown, missing, '{"payment_id": "P0', "", "[]"):
        assert in_cents(text) == corrected(text) == text


def test_a_file_is_sent_in_cents_and_sent_again(new_shop: NewShop) -> None:
    made = new_shop()
    made.shop.create()
    *_, path = made.shop.advance(2)
    file = made.landing / path
    right = file.read_bytes()

    lines = made.shop.send_in_cents(path)
    wrong = file.read_bytes()
    again = made.shop.send_corrected(path)

    assert lines == again == len(right.splitlines())
    sent = [json.loads(text) for text in wrong.splitlines()]
    assert {payment["currency"] for payment in sent if "." in payment["amount"]} <= {"XXX"}
    assert wrong != right
    assert file.read_bytes() == right
