"""The lines of payment files, with the defects such files have. Pure; folders and the database are not known here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from random import Random

_SHARE = 0.003
_UNKNOWN = "XXX"


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it is sent; `amount` in `currency`, None where the line lacks it."""

    payment_id: str
    order_id: int
    amount: Decimal | None
    currency: str
    method: str
    paid_at: datetime


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file, what it says, and what is wrong with it.

    Defects: `broken` (not JSON), `no_amount`, `unknown_currency`, and `repeated` (sent before, here or in an earlier
    file). The first three are never sent again as they should be.
    """

    text: str
    payment: Payment
    defect: str | None = None


def line(payment: Payment, defect: str | None = None) -> Line:
    """The line of a payment."""
    fields: dict[str, object] = {
        "payment_id": payment.payment_id,
        "order_id": payment.order_id,
        "amount": str(payment.amount),
        "currency": payment.currency,
        "method": payment.method,
        "paid_at": f"{payment.paid_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    if payment.amount is None:
        del fields["amount"]
    return Line(json.dumps(fields), payment, defect)


def in_cents(text: str) -> str:
    """A line whose amount is in cents, as a provider sends it by mistake; one without a good amount stays as it is."""
    return _with_amount(text, lambda amount: f"{Decimal(amount) * 100:.0f}" if "." in amount else amount)


def corrected(text: str) -> str:
    """A line as it was before `in_cents`."""
    return _with_amount(text, lambda amount: amount if "." in amount else f"{Decimal(amount) / 100:.2f}")


def damaged_lines(payments: Sequence[Payment], sent_before: Sequence[Payment], rng: Random, number: int) -> list[Line]:
    """The lines of a day's file. A small shop has each defect once a week, a large one in 0.3 % of its lines."""
    count = [_count(len(payments), number, weekday) for weekday in range(5)]
    chosen = rng.sample(range(len(payments)), min(len(payments), sum(count[:4])))
    broken, no_amount, unknown, again = (set(part) for part in _split(chosen, count[:4]))
    lines = []
    for place, payment in enumerate(payments):
        if place in broken:
            text = line(payment).text
            lines.append(Line(text[: rng.randint(20, len(text) - 2)], payment, "broken"))
        elif place in no_amount:
            lines.append(line(replace(payment, amount=None), "no_amount"))
        elif place in unknown:
            lines.append(line(replace(payment, currency=_UNKNOWN), "unknown_currency"))
        else:
            lines.append(line(payment))
    lines += [line(payments[place], "repeated") for place in sorted(again)]
    lines += [line(payment, "repeated") for payment in rng.sample(sent_before, min(len(sent_before), count[4]))]
    return lines


def _with_amount(text: str, change: Callable[[str], str]) -> str:
    try:
        fields = json.loads(text)
    except ValueError:
        return text
    if "amount" not in fields or fields["currency"] == _UNKNOWN:
        return text
    return json.dumps({**fields, "amount": change(fields["amount"])})


def _count(payments: int, number: int, weekday: int) -> int:
    return int(payments * _SHARE) + (1 if number % 7 == weekday else 0)


def _split(places: Sequence[int], counts: Sequence[int]) -> list[Sequence[int]]:
    parts, start = [], 0
    for count in counts:
        parts.append(places[start : start + count])
        start += count
    return parts
