"""Files that change: what a text file has grown by is read, once; any other change makes it another file."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from assets_tests.sources.landed import broken_of, chunks_of, rows_of, write
from lakehouse.errors import SourceChanged
from lakehouse.sources import Extract, SourceReader
from lakehouse.sources.lines import ROWS

Reader = Callable[..., SourceReader]
CLOCK = iter(range(10**15, 10**18, 10**9))


def changed(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file; each time is a second later than the one before."""
    file = write(folder, name, content)
    os.utime(file, ns=(1, next(CLOCK)))
    return file


def then(reader: SourceReader, extract: Extract | None) -> Extract | None:
    """The read after this one, with a position that was stored as JSON."""
    assert extract is not None
    return reader.read(json.loads(json.dumps(extract.reached)))


def ids(extract: Extract | None) -> list[tuple[str, object]]:
    return [(source, row["payment_id"]) for source, row in rows_of(chunks_of(extract))]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.jsonl", ('{"payment_id": "P1"}\n', '{"payment_id": "P2"}\n\n', '{"payment_id": "P4"}')),
        ("a.csv", ('payment_id,amount\n"P1",1\n', '"P2","a\nb"\n', "P4,4")),
    ],
)
def test_only_the_lines_that_came_are_read(
    landing: Path, reader: Reader, name: str, parts: tuple[str, str, str]
) -> None:
    opened, (first, second, third) = reader("a.*"), parts
    changed(landing, name, first)
    one = opened.read(None)
    assert [value for _, value in ids(one)] == ["P1"]
    changed(landing, name, first + second)
    two = then(opened, one)
    begin = first.count("\n")
    assert ids(two) == [(f"{name}:{begin + 1}", "P2")]
    changed(landing, name, first + second + third)
    three = then(opened, two)
    assert ids(three) == [(f"{name}:{begin + 3}", "P4")]
    assert [extract.expected_rows for extract in (one, two, three) if extract] == [1, 1, 1]
    assert then(opened, three) is None


def test_half_a_last_line_is_read_again_when_there_is_more_of_it(landing: Path, reader: Reader) -> None:
    opened = reader("*.jsonl")
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n{"payment_')
    one = opened.read(None)
    assert [record.source for record in broken_of(chunks_of(one))] == ["a.jsonl:2"]
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n{"payment_id": "P2"}\n')
    assert ids(then(opened, one)) == [("a.jsonl:2", "P2")]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_last_line_that_was_whole_is_not_read_twice(landing: Path, reader: Reader, end: str) -> None:
    opened = reader("*.jsonl")
    changed(landing, "a.jsonl", '{"payment_id": "P1"}')
    one = opened.read(None)
    chunks_of(one)
    changed(landing, "a.jsonl", f'{{"payment_id": "P1"}}{end}')
    two = then(opened, one)
    assert ids(two) == []
    changed(landing, "a.jsonl", f'{{"payment_id": "P1"}}{end}{{"payment_id": "P2"}}')
    assert ids(then(opened, two)) == ids(then(opened, one)) == [("a.jsonl:2", "P2")]


@pytest.mark.parametrize(
    "content",
    [
        '{"payment_id": "P0"}\n{"payment_id": "P2"}\n',
        '{"payment_id": "P1"}',
        '{"payment_id": "P3"}\n',
        '{"payment_id": "P1"} \n{"payment_id": "P2"}\n',
    ],
    ids=["another beginning", "shorter", "as long", "a byte more in the middle"],
)
def test_a_replaced_file_is_read_whole(landing: Path, reader: Reader, content: str) -> None:
    opened = reader("*.jsonl")
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n')
    one = opened.read(None)
    changed(landing, "a.jsonl", content)
    assert ids(then(opened, one)) == [
        (f"a.jsonl:{number}", json.loads(line)["payment_id"])
        for number, line in enumerate(content.splitlines(), start=1)
    ]


def test_a_file_that_was_touched_has_nothing_new(landing: Path, reader: Reader) -> None:
    opened = reader("a.*")
    for name, content in (("a.jsonl", '{"payment_id": "P1"}'), ("a.csv", "payment_id\nP1")):
        changed(landing, name, content)
    one = opened.read(None)
    for name in ("a.jsonl", "a.csv"):
        os.utime(landing / name, ns=(1, next(CLOCK)))
    two = then(opened, one)
    assert two is not None
    assert (ids(two), two.expected_rows) == ([], 0)
    # It has grown after that: the line that had no end is known still.
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n{"payment_id": "P2"}')
    assert ids(then(opened, two)) == [("a.jsonl:2", "P2")]


def test_white_space_behind_a_line_without_an_end_is_nothing_new(landing: Path, reader: Reader) -> None:
    """Such a file was forgotten, and read whole when it was touched next."""
    opened = reader("*.jsonl")
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n{"payment_id": "P2"}')
    extract = opened.read(None)
    assert [value for _, value in ids(extract)] == ["P1", "P2"]
    for content in (" ", " ", " \t"):
        changed(landing, "a.jsonl", f'{{"payment_id": "P1"}}\n{{"payment_id": "P2"}}{content}')
        extract = then(opened, extract)
        assert ids(extract) == []
    changed(landing, "a.jsonl", '{"payment_id": "P1"}\n{"payment_id": "P2"} \t\n{"payment_id": "P3"}')
    assert ids(then(opened, extract)) == [("a.jsonl:3", "P3")]


@pytest.mark.parametrize("content", ["payment_id,amo", 'payment_id,amount\n"P1,1\n', ""])
def test_csv_of_which_the_records_are_not_clear_is_read_whole(landing: Path, reader: Reader, content: str) -> None:
    opened = reader("*.csv")
    changed(landing, "a.csv", content)
    one = opened.read(None)
    chunks_of(one)
    grown = "payment_id,amount\nP1,1\n" if "P1" not in content else f'{content}2"\nP3,3\n'
    changed(landing, "a.csv", grown)
    two = then(opened, one)
    chunks = chunks_of(two)
    assert "a.csv:2" in {source for source, _ in rows_of(chunks)} | {record.source for record in broken_of(chunks)}
    assert then(opened, two) is None


def test_packed_files_and_parquet_are_read_whole(landing: Path, reader: Reader) -> None:
    opened = reader("*.gz")
    changed(landing, "a.jsonl.gz", gzip.compress(b'{"payment_id": "P1"}\n'))
    one = opened.read(None)
    changed(landing, "a.jsonl.gz", gzip.compress(b'{"payment_id": "P1"}\n{"payment_id": "P2"}\n'))
    assert [value for _, value in ids(then(opened, one))] == ["P1", "P2"]


def test_a_file_that_grows_while_it_is_read_gives_what_was_listed_and_the_rest_later(
    landing: Path, reader: Reader
) -> None:
    opened, line = reader("*.jsonl"), '{"payment_id": "P"}\n'
    file = changed(landing, "a.jsonl", line * (ROWS + 10))
    one = opened.read(None)
    assert one is not None
    chunks = iter(one.chunks)
    count = next(chunks).count
    with file.open("a") as growing:
        growing.write('{"payment_id": "later"}\n{"payment_id": "ha')
    os.utime(file, ns=(1, next(CLOCK)))
    count += sum(chunk.count for chunk in chunks)
    assert count == one.expected_rows == ROWS + 10
    two = then(opened, one)
    chunks_two = chunks_of(two)
    assert rows_of(chunks_two)[0][0] == f"a.jsonl:{ROWS + 11}"
    assert [row["payment_id"] for _, row in rows_of(chunks_two)] == ["later"]
    assert [record.source for record in broken_of(chunks_two)] == [f"a.jsonl:{ROWS + 12}"]


def test_a_file_replaced_while_it_is_read_fails_the_load(landing: Path, reader: Reader) -> None:
    line = json.dumps({"payment_id": "P", "note": "x" * 60}) + "\n"
    file = changed(landing, "a.jsonl", line * (ROWS + ROWS // 2))
    extract = reader("*.jsonl").read(None)
    assert extract is not None
    chunks = iter(extract.chunks)
    next(chunks)
    with file.open("r+") as other:
        other.seek(len(line) * (ROWS + ROWS // 3))
        other.write(line.replace("P", "Q"))
    with pytest.raises(SourceChanged, match="changed after it was listed"):
        list(chunks)


def test_a_packed_file_that_changes_while_it_is_read_fails_the_load(landing: Path, reader: Reader) -> None:
    file = changed(landing, "a.jsonl.gz", gzip.compress(b'{"payment_id": "P"}\n' * (ROWS + ROWS // 2)))
    extract = reader("*.gz").read(None)
    assert extract is not None
    chunks = iter(extract.chunks)
    next(chunks)
    os.utime(file, ns=(1, next(CLOCK)))
    with pytest.raises(SourceChanged, match="changed while it was read"):
        list(chunks)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_file_that_goes_after_it_was_listed_fails_the_load(landing: Path, reader: Reader, name: str) -> None:
    content = b'{"payment_id": "P1"}\n'
    file = changed(landing, name, gzip.compress(content) if name.endswith(".gz") else content)
    extract = reader("a.*").read(None)
    file.unlink()
    with pytest.raises(SourceChanged, match=r"not in .* any more"):
        chunks_of(extract)


def test_a_file_that_goes_while_it_is_read_is_read_to_its_end(landing: Path, reader: Reader) -> None:
    for name in ("a.jsonl", "a.csv.gz"):
        lines = b"payment_id\n" * name.endswith("gz") + b"1\n" * (ROWS + 1)
        file = changed(landing, name, gzip.compress(lines) if name.endswith("gz") else lines)
        extract = reader(name).read(None)
        assert extract is not None
        chunks = iter(extract.chunks)
        count = next(chunks).count
        file.unlink()
        assert count + sum(chunk.count for chunk in chunks) == ROWS + 1 == extract.expected_rows


@example(parts=["1\n1", " ", ""], kind="jsonl")
@given(
    parts=st.lists(st.text('"ab,{}:1 \r\n', max_size=12), min_size=1, max_size=6),
    kind=st.sampled_from(["jsonl", "csv"]),
)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_file_grows_each_of_its_lines_is_handed_over_and_whole_ones_once(
    landing: Path, reader: Reader, parts: list[str], kind: str
) -> None:
    head = "payment_id,amount\n" * (kind == "csv")
    opened, since, met, halves = reader(f"g.{kind}"), None, list[tuple[str, object]](), set[str]()
    for end in range(1, len(parts) + 1):
        content = head + "".join(parts[:end])
        halves.add(f"g.{kind}:{content.count(chr(10)) + 1}")
        changed(landing, f"g.{kind}", content)
        extract = opened.read(since)
        assert extract is not None
        chunks = chunks_of(extract)
        assert extract.expected_rows in {None, sum(chunk.count for chunk in chunks)}
        met += [(source, json.dumps(row)) for source, row in rows_of(chunks)]
        met += [(record.source, record.payload.rstrip(b"\r\n")) for record in broken_of(chunks)]
        since = json.loads(json.dumps(extract.reached))
    whole = chunks_of(opened.read(None))
    wanted = [(source, json.dumps(row)) for source, row in rows_of(whole)]
    wanted += [(record.source, record.payload.rstrip(b"\r\n")) for record in broken_of(whole)]
    assert set(wanted) <= set(met)
    if kind == "jsonl":
        assert all(met.count(one) == 1 for one in wanted if one[0] not in halves)
    (landing / f"g.{kind}").unlink()
