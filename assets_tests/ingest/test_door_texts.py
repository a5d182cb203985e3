"""The door against Python: each text is taken exactly, or rejected with its reason."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assets_tests.ingest.through import accepted_values, rules_of, through
from lakehouse.sources import Broken
from lakehouse.tables import Rule, Table

MakeTable = Callable[..., Table]


# What the text of a value must be, said a second time in Python.
TEXTS: dict[str, Callable[[str], object]] = {}


def _text(kind: str) -> Callable[[Callable[[str], object]], Callable[[str], object]]:
    def register(parse: Callable[[str], object]) -> Callable[[str], object]:
        TEXTS[kind] = parse
        return parse

    return register


def _whole(text: str, bits: int) -> int:
    if not re.fullmatch(r"[+-]?\d+(\.0*)?", text, re.ASCII):
        raise ValueError(text)
    value = int(text.partition(".")[0])
    if not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        raise ValueError(text)
    return value


@_text("long")
def _long(text: str) -> object:
    return _whole(text, 64)


@_text("int")
def _int(text: str) -> object:
    return _whole(text, 32)


@_text("decimal(6, 2)")
def _decimal(text: str) -> object:
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", text, re.ASCII):
        raise ValueError(text)
    value = Decimal(text)
    if abs(value) >= 10_000 or value != round(value, 2):
        raise ValueError(text)
    return value


@_text("double")
def _double(text: str) -> object:
    if not re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        raise ValueError(text)
    value = float(text)
    if abs(value) == float("inf"):
        raise ValueError(text)
    return value


@_text("date")
def _date(text: str) -> object:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError(text)
    return date.fromisoformat(text)


@_text("timestamptz")
def _timestamptz(text: str) -> object:
    form = r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d{1,6}0*)?(Z|[+-]\d\d(:?\d\d)?)?)?"
    if not re.fullmatch(form, text, re.ASCII):
        raise ValueError(text)
    trimmed = re.sub(r"(\.\d{6})0+", r"\1", text)
    value = datetime.fromisoformat(trimmed)
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(text) from None


@_text("timestamp")
def _timestamp(text: str) -> object:
    value = _timestamptz(text)
    assert isinstance(value, datetime)
    return value.replace(tzinfo=None)


@_text("time")
def _time(text: str) -> object:
    if not re.fullmatch(r"\d\d:\d\d:\d\d(\.\d{1,6}0*)?", text, re.ASCII):
        raise ValueError(text)
    return time.fromisoformat(re.sub(r"(\.\d{6})0+", r"\1", text))


@_text("boolean")
def _boolean(text: str) -> object:
    return {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}[text.lower()]


@_text("uuid")
def _uuid(text: str) -> object:
    if not re.fullmatch("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise ValueError(text)
    return uuid.UUID(text)


@_text("string")
def _string(text: str) -> object:
    return text


@_text("binary")
def _binary(text: str) -> object:
    raise ValueError(text)


def expected(kind: str, text: str | None) -> tuple[bool, object]:
    """Whether a text is accepted, and as what."""
    if text is None:
        return True, None
    try:
        return True, TEXTS[kind](text if kind == "string" else text.strip(" "))
    except (ValueError, KeyError):
        return False, None


texts = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.integers(-(2**65), 2**65).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-20_000, max_value=20_000).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-9_999, max_value=9_999).map(str),
    st.floats().map(repr),
    st.dates().map(str),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat(sep=" ")),
    st.tuples(st.datetimes(), st.integers(-1439, 1439)).map(
        lambda pair: f"{pair[0].isoformat()}{'-' if pair[1] < 0 else '+'}{abs(pair[1]) // 60:02}:{abs(pair[1]) % 60:02}"
    ),
    st.times().map(str),
    st.uuids().map(str),
    st.from_regex(r"[0-9+\-.:eETZ ]{0,12}", fullmatch=True),
    st.sampled_from(
        [
            *("1.7", "12.345", "0x1F", "1_000", "yes", "t", "TRUE", "1e400", "-1e400", "inf", "nan", "infinity", " 7 "),
            *("2026-01-01T10:00:00+02:00", "2026-02-30", "2026-01-01T24:00:00", "2026-01-01T23:59:60Z", "0000-01-01"),
            *("2026-01-01T10:00:00.1234567Z", "2026-01-01T10:00:00.1234560Z", "0001-01-01T00:00:00+14:00", "epoch"),
            *("9999-12-31T23:59:59-01:00", "2026-01-01 10:00:00+0530", "24:00:00", "10:00", ".", "5.", ".5", "-", ""),
            *("99999999999999999999999999999999999999999999", "1.0", "1.00000", "1e2", "\u0664", "12:00:00.123456700"),
            *("2026-01-01 10:00:00 America/New_York", "2026-1-1", "10000-01-01", "1.", "-0", "-0.00", "00012.30"),
        ]
    ),
)


@pytest.mark.parametrize("kind", sorted(TEXTS))
@given(values=st.lists(texts, min_size=16, max_size=40))  # many at once: a question of DuckDB costs more than a text
@example(values=[])
@example(values=["1.7", "12.345", "0x1F", "1_000", "yes", "1e400", "nan", "infinity", " 7 ", "", "\u0664", "1."])
@example(values=["2026-01-01T10:00:00+02:00", "2026-01-01", "2026-01-01 00:00:00", "2026-01-01T24:00:00"])
@hypothesis_settings(max_examples=20, deadline=None)
def test_each_text_is_taken_exactly_or_rejected_with_its_reason(
    make_table: MakeTable, kind: str, values: list[str | None]
) -> None:
    made = through(make_table({"v": kind}), pa.table({"v": pa.array(values, pa.string())}))
    answers = [expected(kind, value) for value in values]
    assert accepted_values(made, "v") == [value for good, value in answers if good]
    assert rules_of(made) == {f"file:{n}": ["v_type"] for n, (good, _) in enumerate(answers, 1) if not good}
    found = [json.loads(row["found"])["v"] for row in made.rejected.to_pylist()]
    assert found == [value for value, (good, _) in zip(values, answers, strict=True) if not good]


rows_strategy = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-5, 5).map(str), st.just("x")),
        st.one_of(st.none(), st.sampled_from(["1.00", "-1", "0.005", "many"])),
        st.one_of(st.none(), st.sampled_from(["EUR", "USD", "XXX"])),
    ),
    min_size=8,
    max_size=40,
)


@given(rows=rows_strategy, broken=st.integers(0, 3))
@example(rows=[], broken=0)
@example(rows=[], broken=2)
@hypothesis_settings(max_examples=40, deadline=None)
def test_counts_add_up_and_each_broken_rule_is_told(
    make_table: MakeTable, rows: list[tuple[str | None, str | None, str | None]], broken: int
) -> None:
    rules = [
        Rule("amount_minimum", '"amount" >= 0', column="amount"),
        Rule("known_currency", "currency in ('EUR', 'USD')", column="currency"),
        Rule("id_or_currency", "id > 0 or currency is not null"),
    ]
    table = make_table(
        {"id": "int", "amount": "decimal(6, 2)", "currency": "string"}, required=["id", "amount"], rules=rules
    )
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    raw = pa.table({n: pa.array(c, pa.string()) for n, c in zip(("id", "amount", "currency"), columns, strict=True)})
    made = through(table, raw, tuple(Broken(b"?", f"broken:{n}", "e") for n in range(broken)))

    def faults(row: tuple[str | None, str | None, str | None]) -> list[str]:
        (id_good, id_), (amount_good, amount) = expected("int", row[0]), expected("decimal(6, 2)", row[1])
        told = [] if id_good else ["id_type"]
        told += ["id_not_null"] if row[0] is None else []
        told += [] if amount_good else ["amount_type"]
        told += ["amount_not_null"] if row[1] is None else []
        told += ["amount_minimum"] if isinstance(amount, Decimal) and amount < 0 else []
        told += ["known_currency"] if row[2] == "XXX" else []
        # SQL: `NULL > 0 or false` is NULL, which is good.
        told += ["id_or_currency"] if isinstance(id_, int) and id_ <= 0 and row[2] is None else []
        return told

    told = {f"file:{n}": faults(row) for n, row in enumerate(rows, 1)}
    assert {s: sorted(names) for s, names in rules_of(made).items() if s.startswith("file")} == {
        source: sorted(names) for source, names in told.items() if names
    }
    assert accepted_values(made, "_source") == [source for source, names in told.items() if not names]
    assert made.accepted.num_rows + made.rejected.num_rows == len(rows) + broken
