"""The door: every row goes one way or the other, and what is accepted is what came, exactly."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest

from assets_tests.ingest.through import AT, accepted_values, rules_of, through
from lakehouse.errors import ContractError
from lakehouse.iceberg import arrow_schema
from lakehouse.ingest import split
from lakehouse.ingest.quarantine import QUARANTINE_SCHEMA
from lakehouse.sources import Broken, Chunk
from lakehouse.tables import Rule, Severity, Table

MakeTable = Callable[..., Table]


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
            "_extra": None,
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
        "state": "held",
        "payload_bytes": 53,
        "payload_raw": None,
        "parsed": '{"currency": "XXX"}',
        **dict.fromkeys(("state_at", "state_by", "decided_by", "held_from", "why")),
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
