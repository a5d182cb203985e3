"""What files say besides their rows: fields that the contract does not name, places of errors, counts, days."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from assets_tests.sources.landed import broken_of, chunks_of, rows_of, write
from lakehouse.sources import Chunk, SourceReader
from lakehouse.sources.reader import RangeReader
from lakehouse.tables import Window

Reader = Callable[..., SourceReader]
LATIN = "P1,Zoë €\n".encode("cp1252")


def extras(chunks: list[Chunk]) -> list[object]:
    return [
        None if chunk.extra is None or text is None else json.loads(text)
        for chunk in chunks
        for text in (chunk.extra.to_pylist() if chunk.extra is not None else [None] * chunk.rows.num_rows)
    ]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def test_fields_that_the_contract_does_not_name_are_kept_beside_each_row(landing: Path, reader: Reader) -> None:
    lines = [
        '{"payment_id": "P1", "fee": 1.10, "who": {"n": [1.0, null]}, "skip": 1}',
        '{"payment_id": "P2"}',
        '{"payment_id": "P3", "skip": 2}',
    ]
    write(landing, "a.jsonl", "\n".join(lines))
    write(landing, "b.csv", "payment_id,fee,skip\nP4,1.10,x\nP5,,y\n")
    table = pa.table({"payment_id": ["P6", "P7"], "fee": [Decimal("1.10"), None], "day": [date(2026, 1, 1), None]})
    parquet.write_table(
        table.append_column("raw", [[b"\xff", None]]).append_column("skip", [[1, 2]]), landing / "c.parquet"
    )
    chunks = chunks_of(reader("*", ignore=["skip"]).read(None))
    assert [row["payment_id"] for _, row in rows_of(chunks)] == [f"P{n}" for n in range(1, 8)]
    assert extras(chunks) == [
        {"fee": 1.1, "who": {"n": [1.0, None]}},
        None,
        None,
        {"fee": "1.10"},
        None,
        {"fee": "1.10", "day": "2026-01-01", "raw": "ff"},
        None,
    ]
    assert chunks[0].extra is not None
    assert "1.10" in chunks[0].extra[0].as_py()


def test_rows_that_have_no_other_field_cost_no_column(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", '{"payment_id": "P1", "amount": 1}\n{"amount": 2}\n')
    write(landing, "b.csv", "payment_id\nP1\n")
    assert [chunk.extra for chunk in chunks_of(reader("*").read(None))] == [None, None]


def test_an_error_says_line_and_byte_which_are_no_part_of_what_the_record_is(landing: Path, reader: Reader) -> None:
    for name, good in (("a", b'{"payment_id": "\xc3\xbc"}\r\n'), ("b", b'{"payment_id": "longer"}\n')):
        write(landing, f"{name}.jsonl", b"\xef\xbb\xbf" + good + b"\nbroken\n\xff\n")
    write(landing, "c.csv", b'\xef\xbb\xbfpayment_id,amount\r\nP1,"1\n2"\n"x\ny",1,2\n')
    chunks = chunks_of(reader("*").read(None))
    placed = [(record.source, record.error.partition(" (line ")[2]) for record in broken_of(chunks)]
    assert placed == [
        ("a.jsonl:3", "3, from byte 26)"),
        ("a.jsonl:4", "4, from byte 33)"),
        ("b.jsonl:3", "3, from byte 29)"),
        ("b.jsonl:4", "4, from byte 36)"),
        ("c.csv:4", "4, from byte 31)"),
    ]
    for record in broken_of(chunks):
        content, at = (landing / record.source.partition(":")[0]).read_bytes(), int(record.error.split()[-1][:-1])
        assert content[at:].startswith(record.payload)


def test_text_of_another_encoding(landing: Path, reader: Reader) -> None:
    write(landing, "a.csv", b"payment_id,amount\n" + LATIN + b"P2,\x81\n")
    write(landing, "b.jsonl", '{"payment_id": "Zoë €"}\n{"payment_id": "Ÿ'.encode("cp1252"))
    chunks = chunks_of(reader("*", encoding="cp1252").read(None))
    assert [tuple(row.values())[:2] for _, row in rows_of(chunks)] == [("P1", "Zoë €"), ("Zoë €", None)]
    assert [record.payload for record in broken_of(chunks)] == [b"P2,\x81\n", '{"payment_id": "Ÿ'.encode("cp1252")]
    assert "not CP1252: byte 0x81 at 4" in broken_of(chunks)[0].error


@pytest.mark.parametrize("encoding", ["latin-1", "iso-8859-15", "shift_jis", "utf-8-sig", "UTF8"])
def test_encodings_that_have_ascii_in_them_are_known(landing: Path, reader: Reader, encoding: str) -> None:
    write(landing, "a.jsonl", '\ufeff{"payment_id": "1"}\n' if encoding[:3].lower() == "utf" else '{"payment_id": "1"}')
    assert [row["payment_id"] for _, row in rows_of(chunks_of(reader("*", encoding=encoding).read(None)))] == ["1"]


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zstd)])
def test_packed_files(landing: Path, reader: Reader, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    parquet.write_table(pa.table({"payment_id": ["P3"]}), landing / ".plain")
    lines = b"".join(b'{"payment_id": "P%d", "amount": "%d"}\n' % (number, number**7) for number in range(8_000))
    write(landing, f"a.jsonl{suffix}", pack(lines))
    write(landing, f"b.csv{suffix}", pack(b"payment_id\nP2"))
    write(landing, f"c.parquet{suffix}", pack((landing / ".plain").read_bytes()))
    write(landing, f"d.jsonl{suffix}", pack(lines)[:-500])
    extract = reader("[abd]*").read(None)
    chunks = chunks_of(extract)
    rows = [source for source, _ in rows_of(chunks)]
    assert rows[:8_001] == [f"a.jsonl{suffix}:{number}" for number in range(1, 8_001)] + [f"b.csv{suffix}:2"]
    # What comes before the break is handed over, the break is told.
    assert [(record.source, record.error[:24]) for record in broken_of(chunks)][-1] == (
        f"d.jsonl{suffix}",
        "the file cannot be read:",
    )
    assert suffix == ".bz2" or len(rows) > 10_000
    assert [row["payment_id"] for _, row in rows_of(chunks_of(reader("c*").read(None)))] == ["P3"]


def test_records_are_counted_apart_from_the_parsers(landing: Path, reader: Reader) -> None:
    parquet.write_table(pa.table({"payment_id": ["P3", "P4"]}), landing / "a.parquet")
    write(landing, "b.jsonl", '\ufeff\n{"payment_id": "P1"}\n \nbroken\n[]')
    write(landing, "c.csv", 'payment_id,amount\n"a\nb",1\n\nP2\nP3,"x ""y"""')
    write(landing, "d.jsonl.gz", gzip.compress(b"{}\n{}"))
    counts = {}
    for name in "abcd":
        extract = reader(f"{name}*").read(None)
        assert extract is not None
        counts[name] = extract.expected_rows
        assert sum(chunk.count for chunk in chunks_of(extract)) == counts[name]
    assert counts == {"a": 2, "b": 3, "c": 3, "d": 2}
    whole = reader("*").read(None)
    assert whole is not None
    assert whole.expected_rows == 10
    # Quotes that are not in order can be counted by nobody, and so can all files together.
    write(landing, "e.csv", 'payment_id,amount\nP1,x"y"\n')
    unclear = reader("*").read(None)
    assert unclear is not None
    assert unclear.expected_rows is None


def test_files_of_some_days_are_read_again_whole(landing: Path, reader: Reader) -> None:
    for day in range(1, 5):
        write(landing, f"p-2026-01-0{day}.jsonl", f'{{"payment_id": "P{day}"}}\n')
    opened = reader("*.jsonl")
    assert isinstance(opened, RangeReader)
    first = opened.read(None)
    assert first is not None
    extract = opened.between(Window.of_days(date(2026, 1, 2), date(2026, 1, 3)))
    assert extract is not None
    assert extract.expected_rows == 2
    assert [source for source, _ in rows_of(chunks_of(extract))] == ["p-2026-01-02.jsonl:1", "p-2026-01-03.jsonl:1"]
    assert opened.between(Window.of_days(date(2026, 2, 1), date(2026, 2, 1))) is None
