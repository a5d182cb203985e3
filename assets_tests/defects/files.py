"""Defects of the payment provider's files."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from assets_tests.defects.defect import NEW_DAY, Defect, date, moment
from assets_tests.defects.world import Row, World


def rows(change: Callable[[int, Row], Row]) -> Callable[[World], None]:
    """Change the day's file line by line; `change` is given the number of the line, from 0, and what it says."""

    def inject(world: World) -> None:
        file = world.file(NEW_DAY)
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        file.write_text("".join(f"{json.dumps(change(number, row))}\n" for number, row in enumerate(lines)))

    return inject


def _later(row: Row, **by: float) -> Row:
    return {**row, "paid_at": f"{datetime.fromisoformat(row['paid_at']) + timedelta(**by):%Y-%m-%dT%H:%M:%SZ}"}


def _truncate(world: World) -> None:
    file = world.file(NEW_DAY)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 5])


def _empty(world: World) -> None:
    world.file(NEW_DAY).write_bytes(b"")


def _twice(world: World) -> None:
    file = world.file(NEW_DAY)
    file.with_name(f"{file.stem}-copy.jsonl").write_bytes(file.read_bytes())


def _missing(world: World) -> None:
    world.file(NEW_DAY).unlink()


def _swapped_currency(number: int, row: Row) -> Row:
    return {**row, "currency": "USD" if row["currency"] == "EUR" else "EUR"} if number < 10 else row


FILES = (
    Defect(
        "Wrong decimal scale: amounts",
        "The amounts of a file are in cents",
        rows(lambda _, row: {**row, "amount": f"{float(row['amount']) * 100:.0f}"}),
        "select count(*) from gold.fct_orders where paid > 20 * gross",
    ),
    Defect(
        "Negative amounts",
        "Two refunds come as payments below zero",
        rows(lambda number, row: {**row, "amount": f"-{row['amount']}"} if number < 2 else row),
        "select count(*) from silver.payments where amount < 0",
    ),
    Defect(
        "Decimal commas",
        "Amounts are text with a comma: '12,50'",
        rows(lambda _, row: {**row, "amount": row["amount"].replace(".", ",")}),
        f"select count(*) from silver.payments where cast(paid_at as date) = {date(NEW_DAY)}",
    ),
    Defect(
        "A field renamed",
        "The provider calls the amount 'total'",
        rows(lambda _, row: {("total" if name == "amount" else name): value for name, value in row.items()}),
        f"select count(*) from silver.payments where cast(paid_at as date) = {date(NEW_DAY)}",
    ),
    Defect(
        "Wrong currency",
        "Ten payments are not in the currency of their order",
        rows(_swapped_currency),
        "select count(*) from silver.payments p join silver.orders o using (order_id) where p.currency <> o.currency",
    ),
    Defect(
        "Wrong order",
        "Each payment is booked for the order before",
        rows(lambda _, row: {**row, "order_id": row["order_id"] - 1}),
        "select count(*) from silver.payments p join silver.orders o using (order_id) where p.currency <> o.currency",
    ),
    Defect(
        "Key used again: payments",
        "Five payments have the numbers of earlier ones",
        rows(lambda number, row: {**row, "payment_id": f"P{number + 1:06d}"} if number < 5 else row),
        f"select count(*) from silver.payments where payment_id <= 'P000005' and paid_at > {moment(NEW_DAY, 0)}",
    ),
    Defect(
        "Payments in the future",
        "Three payments are booked in ten years",
        rows(lambda number, row: _later(row, days=3650) if number < 3 else row),
        f"select count(*) from silver.payments where paid_at > {moment(NEW_DAY + 1, 0)}",
    ),
    Defect(
        "Time zone: payments",
        "The provider's clock is two hours fast",
        rows(lambda _, row: _later(row, hours=2)),
        f"select count(*) from silver.payments where cast(paid_at as date) > {date(NEW_DAY)}",
    ),
    Defect(
        "Time zone: payments, the other way",
        "The provider's clock is two hours slow",
        rows(lambda _, row: _later(row, hours=-2)),
        "select count(*) from silver.payments p join silver.orders o using (order_id) where p.paid_at < o.created_at",
    ),
    Defect(
        "Truncated file",
        "A file ends in the middle of a line, with two fifths of its payments",
        _truncate,
        f"select count(*) from silver.payments where cast(paid_at as date) = {date(NEW_DAY)}",
    ),
    Defect(
        "File delivered twice",
        "The same file comes under another name too",
        _twice,
        "select count(*) - count(distinct payment_id) from silver.payments",
    ),
    Defect(
        "Empty file",
        "A file of no bytes",
        _empty,
        f"select count(*) from gold.daily_revenue where order_date = {date(NEW_DAY)}",
    ),
    Defect(
        "File missing",
        "A file never comes; five days go by",
        _missing,
        f"select count(*) from gold.daily_revenue where order_date = {date(NEW_DAY)}",
        days=5,
    ),
)
