"""The door: every row goes one way or the other, and what is accepted is what came, exactly."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse.errors import ContractError
from lakehouse.iceberg import arrow_schema
from lakehouse.ingest import Split, split
from lakehouse.ingest.quarantine import QUARANTINE_SCHEMA
from lakehouse.sources import Broken, Chunk
from lakehouse.tables import Rule, Severity, Table

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MakeTable = Callable[..., Table]


def through(table: Table, rows: pa.Table, broken: tuple[Broken, ...] = ()) -> Split:
    sources = pa.chunked_array([[f"file:{number}" for number in range(1, rows.num_rows + 1)]], pa.string())
    return split(table, Chunk(rows, sources, broken), AT, "run-1")


def accepted_values(made: Split, name: str) -> list[object]:
    return list(made.accepted.column(name).to_pylist())


def rules_of(made: Split) -> dict[str, list[str]]:
    """Broken rules by coordinate."""
    return {row["source"]: json.loads(row["broken_rules"]) for row in made.rejected.to_pylist()}


def test_both_parts_have_their_schemas(make_table: MakeTable) -> None:
    table = make_table({"id": "long", "amount": "decimal(10, 2)"}, required=["id"])
    made = through(table, pa.table({"id": ["1", None], "amount": ["2.50", "3"]}))
    assert made.accepted.schema.equals(arrow_schema(table.stored_columns))
    assert made.rejected.schema.equals(QUARANTINE_SCHEMA)
    assert made.accepted.to_pylist() == [
        {
            "id": 1,
            "amount": Decimal("2.50"),
            "_extracted_at": AT,
            "_source": "file:1",
            "_run_key": "run-1",
            "_source_version": None,
        }
    ]


def test_a_rejected_row_keeps_everything_needed_to_mend_it(make_table: MakeTable) -> None:
    rules = [Rule("known_currency", "currency in ('EUR', 'USD')", column="currency", description="a known currency")]
    table = make_table({"id": "long", "amount": "decimal(10, 2)", "currency": "string"}, required=["id"], rules=rules)
    rows = pa.table({"id": [None], "amount": ["12,5"], "currency": ["XXX"], "more": ["kept"]})
    (record,) = through(table, rows).rejected.to_pylist()
    assert re.fullmatch("[0-9a-f]{64}", record.pop("reject_id"))
    assert json.loads(record.pop("payload")) == {"amount": "12,5", "currency": "XXX", "more": "kept"}
    assert json.loads(record.pop("broken_rules")) == ["id_not_null", "amount_type", "known_currency"]
    assert json.loads(record.pop("found")) == {"id": None, "amount": "12,5", "currency": "XXX"}
    assert record == {
        "table_name": "bronze.payments",
        "source": "file:1",
        "error": "id is missing; amount is not decimal(10, 2); a known currency",
        "run_key": "run-1",
        "extracted_at": AT,
        "state": "open",
    }


def test_the_original_text_is_the_payload_where_there_is_one(make_table: MakeTable) -> None:
    table = make_table({"id": "long"}, required=["id"])
    chunk = Chunk(pa.table({"id": ["1", "x"]}), "src", (), pa.chunked_array([["first", '{"id" : "x"}']]))
    (record,) = split(table, chunk, AT, "r").rejected.to_pylist()
    assert (record["payload"], record["source"]) == ('{"id" : "x"}', "src")


def test_records_that_did_not_parse_are_rejected_with_their_bytes(make_table: MakeTable) -> None:
    table = make_table({"id": "long"})
    made = through(table, pa.table({"id": ["1"]}), (Broken(b"\xff{", "file:9", "not UTF-8"),))
    assert made.accepted.num_rows == 1
    (record,) = made.rejected.to_pylist()
    assert (record["payload"], record["source"], record["error"]) == ("\\xff{", "file:9", "not UTF-8")
    assert json.loads(record["broken_rules"]) == ["record_parses"]
    alone = split(table, Chunk(pa.table({}), "s", (Broken(b"x", "s", "e"),)), AT, "r")
    assert (alone.accepted.num_rows, alone.rejected.num_rows) == (0, 1)
    assert alone.accepted.schema.equals(arrow_schema(table.stored_columns))


def test_a_reject_keeps_its_identity_whatever_it_is_read_with(make_table: MakeTable) -> None:
    table = make_table({"id": "long", "note": "string"}, required=["id"])
    alone = through(table, pa.table({"id": ["x"]}))
    wider = through(table, pa.table({"id": ["x", "1"], "note": [None, "n"]}))
    other_place = split(table, Chunk(pa.table({"id": ["x"]}), "file:2"), AT, "run-2")
    ids = [made.rejected.column("reject_id").to_pylist() for made in (alone, wider, other_place)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_a_rule_that_is_null_is_kept_and_a_warning_does_not_reject(make_table: MakeTable) -> None:
    rules = [Rule("positive", "amount > 0"), Rule("small", "amount < 5", severity=Severity.WARNING)]
    table = make_table({"amount": "long"}, rules=rules)
    made = through(table, pa.table({"amount": [None, "9", "-1"]}))
    assert accepted_values(made, "amount") == [None, 9]
    assert rules_of(made) == {"file:3": ["positive"]}


def test_a_required_value_of_the_wrong_type_is_not_called_missing(make_table: MakeTable) -> None:
    # The contract's own rule has the same name; it sees only the NULL that the failed cast left.
    rules = [Rule("id_not_null", '"id" is not null', column="id")]
    table = make_table({"id": "long"}, required=["id"], rules=rules)
    assert rules_of(through(table, pa.table({"id": ["x", None]}))) == {"file:1": ["id_type"], "file:2": ["id_not_null"]}


def test_a_column_the_source_lacks_is_null_or_missing(make_table: MakeTable) -> None:
    table = make_table({"id": "long", "note": "string"})
    assert accepted_values(through(table, pa.table({"id": ["1"]})), "note") == [None]
    table = make_table({"id": "long", "note": "string"}, required=["note"])
    assert rules_of(through(table, pa.table({"id": ["1"]}))) == {"file:1": ["note_not_null"]}


def test_a_rule_that_cannot_be_evaluated_names_the_contract(make_table: MakeTable) -> None:
    table = make_table({"id": "long"}, rules=[Rule("wrong", "no_such_column > 1")])
    with pytest.raises(ContractError, match=r"payments\.yaml.*wrong"):
        through(table, pa.table({"id": ["1"]}))


def test_rows_keep_their_order_and_coordinates_in_large_chunks(make_table: MakeTable) -> None:
    table = make_table({"id": "long", "note": "string"}, rules=[Rule("no_sevens", "id % 7 <> 0")])
    count = 300_000
    rows = pa.table({"id": [str(n) for n in range(1, count + 1)], "note": [f"n{n}" for n in range(1, count + 1)]})
    made = through(table, rows)
    kept = [n for n in range(1, count + 1) if n % 7]
    assert accepted_values(made, "id") == kept
    assert accepted_values(made, "note") == [f"n{n}" for n in kept]
    assert accepted_values(made, "_source") == [f"file:{n}" for n in kept]
    assert made.rejected.num_rows == count - len(kept)


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
@given(values=st.lists(texts, max_size=12))
@example(values=["1.7", "12.345", "0x1F", "1_000", "yes", "1e400", "nan", "infinity", " 7 ", "", "\u0664", "1."])
@example(values=["2026-01-01T10:00:00+02:00", "2026-01-01", "2026-01-01 00:00:00", "2026-01-01T24:00:00"])
@hypothesis_settings(max_examples=80, deadline=None)
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
    max_size=40,
)


@given(rows=rows_strategy, broken=st.integers(0, 3))
@hypothesis_settings(max_examples=100, deadline=None)
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


@pytest.mark.parametrize(
    ("kind", "values", "good"),
    [
        ("long", pa.array([1.0, 1.5, 2.0**70, None]), [1, None]),
        ("int", pa.array([1, 2**40]), [1]),
        ("decimal(6, 2)", pa.array([12.3, 12.345, 1e9]), [Decimal("12.30")]),
        ("decimal(6, 2)", pa.array([Decimal("1.230"), Decimal("1.235")]), [Decimal("1.23")]),
        ("decimal(6, 2)", pa.array([7, 10_000]), [Decimal("7.00")]),
        ("float", pa.array([0.1, 1e300]), [pytest.approx(0.1)]),
        ("double", pa.array([2**53, 2**53 + 1]), [2.0**53]),
        ("double", pa.array([Decimal("0.10")]), [0.1]),
        ("double", pa.array([1.5, float("inf")], pa.float32()), [1.5, float("inf")]),
        ("date", pa.array([datetime(2026, 1, 1), datetime(2026, 1, 1, 1)]), [date(2026, 1, 1)]),  # noqa: DTZ001
        ("timestamptz", pa.array([1, 2001], pa.timestamp("ns", tz="UTC")), []),
        ("timestamptz", pa.array([1000], pa.timestamp("ns", tz="Europe/Berlin")), [AT.fromtimestamp(1e-6, UTC)]),
        ("timestamptz", pa.array([date(2026, 1, 31)]), [AT - timedelta(hours=12)]),
        ("timestamptz", pa.array([2**63 - 1, 0], pa.timestamp("us", tz="UTC")), [datetime(1970, 1, 1, tzinfo=UTC)]),
        ("date", pa.array([2**31 - 2, 0], pa.int32()).cast(pa.date32()), [date(1970, 1, 1)]),
        ("string", pa.array([1, None]), ["1", None]),
        ("string", pa.array([[1, None], []]), ["[1,null]", "[]"]),
        ("string", pa.array([{"a": "x"}]), ['{"a":"x"}']),
        ("string", pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        ("long", pa.array(["1", "x"], pa.large_string()), [1]),
        ("boolean", pa.array([0, 1, 2]), [False, True]),
        ("long", pa.array([date(2026, 1, 1)]), []),
        ("binary", pa.array([b"\x00"]), [b"\x00"]),
        ("fixed[2]", pa.array([b"ab", b"abc"]), [b"ab"]),
        ("long", pa.nulls(2), [None, None]),
    ],
    ids=str,
)
def test_typed_values_survive_the_way_there_and_back_or_are_rejected(
    make_table: MakeTable, kind: str, values: pa.Array, good: list[object]
) -> None:
    made = through(make_table({"v": kind}), pa.table({"v": values}))
    assert accepted_values(made, "v") == good
    assert made.accepted.num_rows + made.rejected.num_rows == len(values)
    assert all(names == ["v_type"] for names in rules_of(made).values())
