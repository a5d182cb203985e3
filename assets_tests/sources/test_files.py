"""Files in a landing folder: which are read, what their records become, and that nothing in them is dropped."""

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

from lakehouse.errors import ContractError, SettingsError, SourceChanged, SourceError, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import Broken, Chunk, Extract, SourceReader, open_source
from lakehouse.sources.lines import MAX_LINE, ROWS
from lakehouse.sources.reader import MAX_PAYLOAD
from lakehouse.tables import Table

PAYMENT = {"payment_id": "string", "amount": "decimal(10, 2)"}
Reader = Callable[..., SourceReader]


@pytest.fixture
def landing(make_settings: Callable[..., Settings]) -> Path:
    return make_settings().state / "landing"


@pytest.fixture
def reader(make_settings: Callable[..., Settings], make_table: Callable[..., Table]) -> Reader:
    def make(pattern: str, columns: dict[str, str] | None = None, **options: object) -> SourceReader:
        return open_source(make_settings(), make_table("landing", {"files": pattern, **options}, columns or PAYMENT))

    return make


def write(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def chunks_of(extract: Extract | None) -> list[Chunk]:
    assert extract is not None
    return list(extract.chunks)


def rows_of(chunks: list[Chunk]) -> list[tuple[str, dict[str, object]]]:
    """Each row with its coordinates."""
    return [(chunk.coordinate(place), row) for chunk in chunks for place, row in enumerate(chunk.rows.to_pylist())]


def broken_of(chunks: list[Chunk]) -> list[Broken]:
    return [record for chunk in chunks for record in chunk.broken]


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
        ("a.parquet:1", {"payment_id": "P1", "amount": 1.5}),
        ("a.parquet:2", {"payment_id": "P2", "amount": None}),
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


def test_new_and_changed_files_are_read_in_order_of_name_and_known_ones_not(landing: Path, reader: Reader) -> None:
    for name in ("b", "a", "c"):
        write(landing, f"{name}.jsonl", json.dumps({"payment_id": name}))
    first = reader("*.jsonl").read(None)
    assert [source for source, _ in rows_of(chunks_of(first))] == ["a.jsonl:1", "b.jsonl:1", "c.jsonl:1"]
    assert first is not None
    assert reader("*.jsonl").read(first.reached) is None

    write(landing, "b.jsonl", '{"payment_id": "b, replaced"}')
    write(landing, "0.jsonl", '{"payment_id": "late"}')
    (landing / "c.jsonl").unlink()
    second = reader("*.jsonl").read(first.reached)
    assert [row["payment_id"] for _, row in rows_of(chunks_of(second))] == ["late", "b, replaced"]
    assert second is not None
    assert set(second.reached["files"]) == {"0.jsonl", "a.jsonl", "b.jsonl", "c.jsonl"}  # type: ignore[call-overload]


def test_a_file_replaced_by_one_of_the_same_size_is_noticed_by_its_time(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", '{"payment_id": "P1"}')
    first = reader("a.jsonl").read(None)
    assert first is not None
    write(landing, "a.jsonl", '{"payment_id": "P2"}')
    os.utime(file, ns=(1, 1))
    assert [row["payment_id"] for _, row in rows_of(chunks_of(reader("a.jsonl").read(first.reached)))] == ["P2"]


def test_a_file_replaced_between_listing_and_reading_fails_the_load(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", '{"payment_id": "P1"}')
    extract = reader("a.jsonl").read(None)
    file.write_text('{"payment_id": "P2"}')
    os.utime(file, ns=(1, 1))
    with pytest.raises(SourceChanged, match="changed after it was listed"):
        chunks_of(extract)


def test_positions_survive_json(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", "{}")
    first = reader("*.jsonl").read(None)
    assert first is not None
    assert reader("*.jsonl").read(json.loads(json.dumps(first.reached))) is None


def test_hidden_names_folders_and_other_patterns_are_not_looked_at(landing: Path, reader: Reader) -> None:
    for name in (".a.jsonl", ".tmp/a.jsonl", "sub/a.jsonl", "a.csv"):
        write(landing, name, "{}")
    (landing / "folder.jsonl").mkdir()
    assert reader("*.jsonl").read(None) is None
    assert [source for source, _ in rows_of(chunks_of(reader("**/*.jsonl").read(None)))] == ["sub/a.jsonl:1"]


def test_columns_are_sampled_from_the_last_file(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", '{"old": 1}')
    write(landing, "b.jsonl", '{"payment_id": "P1", "amount": 1}\n{"more": 1}')
    found = reader("*.jsonl").columns()
    assert [(column.name, column.type) for column in found] == [
        ("payment_id", "string"),
        ("amount", "string"),
        ("more", "string"),
    ]


def test_columns_without_any_file(reader: Reader) -> None:
    with pytest.raises(SourceChanged, match=r"no file below .* matches '\*\.jsonl'"):
        reader("*.jsonl").columns()


def test_a_missing_folder_is_unreachable(landing: Path, reader: Reader) -> None:
    opened = reader("*.jsonl")
    landing.rmdir()
    with pytest.raises(SourceUnreachable, match="landing"):
        opened.read(None)


def test_a_position_of_another_source_is_refused(reader: Reader) -> None:
    with pytest.raises(SourceError, match="not one of files"):
        reader("*.jsonl").read({"watermark": "2026-01-01"})


@pytest.mark.parametrize(
    ("pattern", "options", "said"),
    [
        ("/etc/*", {}, "'files'.*below the source's root"),
        ("../*.jsonl", {}, "'files'.*below the source's root"),
        ("*.jsonl", {"format": "xml"}, "'format'.*jsonl, csv or parquet"),
        ("", {}, "'files'"),
        ("*.jsonl", {"patern": "x"}, "'patern'"),
    ],
)
def test_wrong_options_are_named(reader: Reader, pattern: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        reader(pattern, **options)


def test_an_unknown_format_is_named(landing: Path, reader: Reader) -> None:
    write(landing, "a.xml", "<a/>")
    with pytest.raises(ContractError, match=r"found a\.xml"):
        chunks_of(reader("*").read(None))


def test_another_kind_of_place_is_refused(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    elsewhere = make_settings(cloud={"kind": "files", "root": "gs://bucket/landing"})
    with pytest.raises(SettingsError, match=r"gs://bucket/landing"):
        open_source(elsewhere, make_table("cloud", {"files": "*.jsonl"}, PAYMENT))


def test_a_root_may_be_absolute_or_an_address(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table], tmp_path: Path
) -> None:
    write(tmp_path, "a b/x.jsonl", "{}")
    for root in (str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        opened = open_source(
            make_settings(there={"kind": "files", "root": root}), make_table("there", {"files": "*.jsonl"}, PAYMENT)
        )
        assert [source for source, _ in rows_of(chunks_of(opened.read(None)))] == ["x.jsonl:1"]


def test_positions_of_loads_long_ago_are_understood(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", "{}")
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    assert reader("*.jsonl").read({"files": {"a.jsonl": [2, 1_700_000_000_123_456_789]}}) is None


def test_parts_of_a_pattern_stand_for_one_name_each(landing: Path, reader: Reader) -> None:
    for name in ("a/2026/x.jsonl", "a/2027/x.jsonl", "a/2026/deep/x.jsonl", "b/2026/x.jsonl", "a/x.jsonl"):
        write(landing, name, "{}")
    found = {
        pattern: [source.removesuffix(":1") for source, _ in rows_of(chunks_of(reader(pattern).read(None)))]
        for pattern in ("a/*/*.jsonl", "./a//2026/x.jsonl", "a/**/x.jsonl", "[ab]/202?/x.jsonl", "**/2026/*")
    }
    assert found == {
        "a/*/*.jsonl": ["a/2026/x.jsonl", "a/2027/x.jsonl"],
        "./a//2026/x.jsonl": ["a/2026/x.jsonl"],
        "a/**/x.jsonl": ["a/2026/deep/x.jsonl", "a/2026/x.jsonl", "a/2027/x.jsonl", "a/x.jsonl"],
        "[ab]/202?/x.jsonl": ["a/2026/x.jsonl", "a/2027/x.jsonl", "b/2026/x.jsonl"],
        "**/2026/*": ["a/2026/x.jsonl", "b/2026/x.jsonl"],
    }


def poison() -> Iterator[st.SearchStrategy[bytes]]:
    yield st.binary(max_size=200)
    yield st.text(alphabet='{}[]",:\n\r\\u0ad9.-eE+truefalsn ', max_size=120).map(lambda text: text.encode())
    yield st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.floats() | st.text(max_size=5)).map(
        lambda record: json.dumps(record).encode()
    )


@given(lines=st.lists(st.one_of(*poison()), max_size=8), kind=st.sampled_from(["jsonl", "csv"]))
@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_input_is_lost_or_fatal(landing: Path, reader: Reader, lines: list[bytes], kind: str) -> None:
    content = b"payment_id,amount\n" * (kind == "csv") + b"\n".join(lines)
    write(landing, f"poison.{kind}", content)
    chunks = chunks_of(reader(f"poison.{kind}").read(None))
    sources = [source for source, _ in rows_of(chunks)] + [record.source for record in broken_of(chunks)]
    assert len(set(sources)) == len(sources)
    if kind == "jsonl":
        # str.strip and bytes.strip differ on what is blank; a line that only Unicode calls blank holds no record.
        filled = {
            f"poison.jsonl:{number}"
            for number, line in enumerate(content.split(b"\n"), start=1)
            if line.decode(errors="backslashreplace").removeprefix("\ufeff" if number == 1 else "").strip()
        }
        assert set(sources) == filled
