"""What the records of files become, by format, and that nothing in them is dropped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet

from assets_tests.sources.landed import broken_of, chunks_of, rows_of, write
from lakehouse.sources import SourceReader
from lakehouse.sources.lines import BOM, MAX_LINE, ROWS
from lakehouse.sources.reader import MAX_PAYLOAD

Reader = Callable[..., SourceReader]


def test_json_lines_are_texts_with_coordinates(landing: Path, reader: Reader) -> None:
    lines = ['{"payment_id": "P1", "amount": 12.30}', "", '{"amount": "7", "extra": true}']
    write(landing, "payments/a.jsonl", "\n".join(lines))
    chunks = chunks_of(reader("payments/*.jsonl").read(None))
    assert rows_of(chunks) == [
        ("payments/a.jsonl:1", {"payment_id": "P1", "amount": "12.30"}),
        ("payments/a.jsonl:3", {"payment_id": None, "amount": "7"}),
    ]
    assert chunks[0].payload is not None
    assert chunks[0].payload.to_pylist() == [lines[0], lines[2]]


def test_json_values_keep_their_own_digits_and_nesting(landing: Path, reader: Reader) -> None:
    numbers = '"n": 1.10, "big": 123456789012345678901234567890, "e": 1E5'
    line = f'{{{numbers}, "t": true, "z": null, "o": {{"k": [1.0, "ü", false]}}}}'
    write(landing, "a.jsonl", line)
    names = dict.fromkeys(("n", "big", "e", "t", "z", "o"), "string")
    ((_, row),) = rows_of(chunks_of(reader("a.jsonl", names).read(None)))
    assert row == {
        "n": "1.10",
        "big": "123456789012345678901234567890",
        "e": "1E5",
        "t": "true",
        "z": None,
        "o": '{"k": [1.0, "ü", false]}',
    }


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"payment_id": "P1"', "not JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b'"text"', "not a JSON object"),
        (b'{"amount": NaN}', "NaN is not JSON"),
        (b'{"payment_id": "\xff"}', "not UTF-8: byte 0xff at 17"),
        (b'{"payment_id": "\\ud800"}', "half a character"),
        (b"[" * 100_000, "recursion"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
    ],
)
def test_a_line_that_does_not_parse_is_broken_and_the_others_go_on(
    landing: Path, reader: Reader, line: bytes, said: str
) -> None:
    write(landing, "a.jsonl", b'{"payment_id": "P0"}\n' + line + b'\n{"payment_id": "P2"}\n')
    chunks = chunks_of(reader("a.jsonl").read(None))
    assert [(source, row["payment_id"]) for source, row in rows_of(chunks)] == [
        ("a.jsonl:1", "P0"),
        ("a.jsonl:3", "P2"),
    ]
    (record,) = broken_of(chunks)
    assert record.source == "a.jsonl:2"
    assert said in record.error
    assert line.startswith(record.payload.rstrip(b"\n"))


def test_an_endless_line_is_one_broken_record_of_bounded_size(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", b"x" * (MAX_LINE * 2 + 5) + b'\n{"payment_id": "P2"}\n')
    chunks = chunks_of(reader("a.jsonl").read(None))
    (record,) = broken_of(chunks)
    assert len(record.payload) == MAX_PAYLOAD
    assert "longer than" in record.error
    assert [source for source, _ in rows_of(chunks)] == ["a.jsonl:2"]


def test_many_lines_come_in_bounded_chunks(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", '{"payment_id": "P"}\n' * (ROWS * 2 + 1))
    assert [chunk.rows.num_rows for chunk in chunks_of(reader("a.jsonl").read(None))] == [ROWS, ROWS, 1]


def test_faults_among_very_many_short_lines_are_all_told(landing: Path, reader: Reader) -> None:
    lines = [b"{}", b"\xff", b"{", b"[]", b'{"payment_id": "\\ud800"}'] * (ROWS // 2)
    write(landing, "a.jsonl", b"\n".join(lines))
    chunks = chunks_of(reader("a.jsonl").read(None))
    assert max(chunk.count for chunk in chunks) == ROWS
    sources = [source for source, _ in rows_of(chunks)] + [record.source for record in broken_of(chunks)]
    assert len(sources) == len(set(sources)) == len(lines)
    assert len(broken_of(chunks)) == 4 * len(lines) // 5


def test_lines_longer_than_a_block_are_whole(landing: Path, reader: Reader) -> None:
    long = "x" * (3 * 1024 * 1024)
    write(landing, "a.jsonl", "\n".join(json.dumps({"payment_id": long + str(n)}) for n in range(3)))
    rows = rows_of(chunks_of(reader("a.jsonl").read(None)))
    assert rows == [(f"a.jsonl:{n + 1}", {"payment_id": long + str(n), "amount": None}) for n in range(3)]


def test_csv_fields_are_texts_and_empty_ones_null(landing: Path, reader: Reader) -> None:
    write(landing, "a.csv", '\ufeffpayment_id,amount\r\nP1,"1,5"\r\n"P\n2",\r\n\r\nP3, 7 \r\n'.encode())
    assert rows_of(chunks_of(reader("*.csv").read(None))) == [
        ("a.csv:2", {"payment_id": "P1", "amount": "1,5"}),
        ("a.csv:3", {"payment_id": "P\n2", "amount": None}),
        ("a.csv:6", {"payment_id": "P3", "amount": " 7 "}),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"P1", "1 fields where the header has 2"),
        (b"P1,2,3", "3 fields where the header has 2"),
        (b'"P1"x,2', "not CSV"),
        (b"P\xe41,2", "not UTF-8: byte 0xe4 at 2"),
    ],
)
def test_a_csv_row_that_does_not_fit_is_broken_and_the_others_go_on(
    landing: Path, reader: Reader, line: bytes, said: str
) -> None:
    write(landing, "a.csv", b"payment_id,amount\nP0,0\n" + line + b"\nP2,2\n")
    chunks = chunks_of(reader("a.csv").read(None))
    assert [(source, row["payment_id"]) for source, row in rows_of(chunks)] == [("a.csv:2", "P0"), ("a.csv:4", "P2")]
    (record,) = broken_of(chunks)
    assert (record.source, record.payload) == ("a.csv:3", line + b"\n")
    assert said in record.error


def test_an_unclosed_quote_is_broken_with_what_it_swallowed(landing: Path, reader: Reader) -> None:
    write(landing, "a.csv", b'payment_id,amount\nP1,1\n"P2,2\nP3,3\n')
    chunks = chunks_of(reader("a.csv").read(None))
    assert [row["payment_id"] for _, row in rows_of(chunks)] == ["P1"]
    (record,) = broken_of(chunks)
    assert (record.source, record.payload) == ("a.csv:3", b'"P2,2\nP3,3\n')


@pytest.mark.parametrize("header", ["id,id", "id,,x", "id,\xff"])
def test_a_header_that_cannot_be_used_breaks_the_file(landing: Path, reader: Reader, header: str) -> None:
    write(landing, "a.csv", header.encode("latin-1") + b"\n1,2,3\n")
    write(landing, "b.csv", b"payment_id\nP1\n")
    chunks = chunks_of(reader("*.csv").read(None))
    assert [record.source for record in broken_of(chunks)] == ["a.csv:1"]
    assert [source for source, _ in rows_of(chunks)] == ["b.csv:2"]


def test_another_delimiter_and_format_by_option(landing: Path, reader: Reader) -> None:
    write(landing, "a.txt", "payment_id;amount\nP1;2\n")
    chunks = chunks_of(reader("*.txt", format="csv", delimiter=";").read(None))
    assert rows_of(chunks) == [("a.txt:2", {"payment_id": "P1", "amount": "2"})]


def test_parquet_is_typed_and_has_row_numbers(landing: Path, reader: Reader) -> None:
    rows = pa.table({"payment_id": ["P1", "P2"], "amount": pa.array([1.5, None]), "other": [1, 2]})
    parquet.write_table(rows, landing / "a.parquet")
    chunks = chunks_of(reader("a.parquet").read(None))
    assert rows_of(chunks) == [
        ("a.parquet:1", {"payment_id": "P1", "amount": 1.5, "other": 1}),
        ("a.parquet:2", {"payment_id": "P2", "amount": None, "other": 2}),
    ]
    assert chunks[0].rows.schema.field("amount").type == pa.float64()


def test_gzipped_files_of_each_format(landing: Path, reader: Reader) -> None:
    parquet.write_table(pa.table({"payment_id": ["P3"]}), landing / "plain")
    write(landing, "c.parquet.gz", gzip.compress((landing / "plain").read_bytes()))
    write(landing, "a.jsonl.gz", gzip.compress(b'{"payment_id": "P1"}\n'))
    write(landing, "b.csv.gz", gzip.compress(b"payment_id\nP2\n"))
    rows = rows_of(chunks_of(reader("*.gz").read(None)))
    assert [(source, row["payment_id"]) for source, row in rows] == [
        ("a.jsonl.gz:1", "P1"),
        ("b.csv.gz:2", "P2"),
        ("c.parquet.gz:1", "P3"),
    ]


def corrupt_parquet(folder: Path) -> bytes:
    parquet.write_table(pa.table({"payment_id": ["P"] * 1000}), folder / ".whole")
    return (folder / ".whole").read_bytes()


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("m.parquet", lambda whole: whole[: len(whole) // 2]),
        ("m.parquet", lambda _: b""),
        ("m.parquet", lambda whole: whole[:4] + b"\0" * 40 + whole[44:]),
        ("m.jsonl.gz", lambda _: b"this is not gzip"),
        ("m.jsonl.gz", lambda _: gzip.compress(os.urandom(1000).hex().encode() * 200)[:500]),
        ("m.jsonl.gz", lambda _: gzip.compress(b"{}\n" * 1000)[:-12] + b"\0" * 12),
        ("m.parquet.gz", lambda whole: gzip.compress(whole[:-9])),
    ],
)
def test_an_unreadable_file_is_one_broken_record_and_the_others_are_read(
    landing: Path, reader: Reader, name: str, spoil: Callable[[bytes], bytes]
) -> None:
    write(landing, name, spoil(corrupt_parquet(landing)))
    write(landing, "a.jsonl", '{"payment_id": "P1"}')
    write(landing, "z.jsonl", '{"payment_id": "P2"}')
    chunks = chunks_of(reader("*").read(None))
    whole_file = [record for record in broken_of(chunks) if record.source == name]
    assert len(whole_file) == 1
    assert whole_file[0].error.startswith("the file cannot be read: ")
    assert {"a.jsonl:1", "z.jsonl:1"} <= {source for source, _ in rows_of(chunks)}


def poison() -> Iterator[st.SearchStrategy[bytes]]:
    yield st.binary(max_size=200)
    yield st.text(alphabet='{}[]",:\n\r\\u0ad9.-eE+truefalsn ', max_size=120).map(lambda text: text.encode())
    yield st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.floats() | st.text(max_size=5)).map(
        lambda record: json.dumps(record).encode()
    )


@given(lines=st.lists(st.one_of(*poison()), max_size=8), kind=st.sampled_from(["jsonl", "csv"]))
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_input_is_lost_or_fatal(landing: Path, reader: Reader, lines: list[bytes], kind: str) -> None:
    content = b"payment_id,amount\n" * (kind == "csv") + b"\n".join(lines)
    write(landing, f"poison.{kind}", content)
    chunks = chunks_of(reader(f"poison.{kind}").read(None))
    sources = [source for source, _ in rows_of(chunks)] + [record.source for record in broken_of(chunks)]
    assert len(set(sources)) == len(sources)
    if kind == "jsonl":
        filled = {
            f"poison.jsonl:{number}"
            for number, line in enumerate(content.split(b"\n"), start=1)
            if line.removeprefix(BOM if number == 1 else b"").strip()
        }
        assert set(sources) == filled
