"""Broken files, made by the hundred: never a crash, no record without a trace, and counts that agree."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyarrow import parquet

from assets_tests.sources.landed import broken_of, chunks_of, rows_of, write
from lakehouse.sources import FilesReader, SourceReader

Reader = Callable[..., SourceReader]
EXAMPLES = 40
MANY = 1000
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

GOOD = {"payment_id": "good", "amount": "1.00"}
DAMAGE = st.one_of(
    st.binary(max_size=60),
    st.text('{}[]",:\n\r\\u0ad9.-eE+truefalsn \x00\ufeff', max_size=60).map(str.encode),
    st.sampled_from(
        [
            b'"',
            b"\\",
            b"[" * 2000,
            b'{"a":' * 900 + b"1" + b"}" * 900,
            b'{"payment_id": ' + b"[" * 400 + b"]" * 400 + b"}",
        ]
    ),
    st.dictionaries(
        st.sampled_from(["payment_id", "amount", "x", "\ud800"]), st.floats() | st.text(max_size=4) | st.none()
    ).map(lambda record: json.dumps(record).encode()),
)
PACKINGS = st.sampled_from(["", ".gz"])


def read(
    landing: Path, reader: Reader, name: str, content: bytes
) -> tuple[list[str], list[str], list[dict[str, object]]]:
    """Coordinates of rows and of broken records, and the rows, of one file; the counts agree."""
    file = write(landing, name, content)
    opened = reader(name)
    assert isinstance(opened, FilesReader)
    extract = opened.read(None)
    chunks = chunks_of(extract)
    assert extract is not None
    rows, broken = rows_of(chunks), broken_of(chunks)
    assert extract.expected_rows in {None, len(rows) + len(broken)}
    file.unlink()
    return [source for source, _ in rows], [record.source for record in broken], [row for _, row in rows]


def check_json(landing: Path, reader: Reader, lines: list[bytes], packing: str, cut: int) -> None:
    good = json.dumps(GOOD).encode()
    content = b"\n".join(part for line in lines for part in (line, good)) + b"\n"
    stored = gzip.compress(content, mtime=0) if packing else content
    name = f"p.jsonl{packing}"
    rows, broken, values = read(landing, reader, name, stored[: len(stored) - cut])
    assert len({*rows, *broken}) == len(rows) + len(broken)
    if not cut:
        assert [value["payment_id"] for value in values].count("good") >= len(lines)
        filled = [
            number for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1) if line.strip()
        ]
        assert {*rows, *broken} == {f"{name}:{number}" for number in filled}
    elif packing:
        assert broken[-1] == name


def check_csv(landing: Path, reader: Reader, lines: list[bytes], packing: str, cut: int) -> None:
    # A quote may swallow what follows it, up to the next: those lines are in one broken record then.
    content = b"payment_id,amount\n" + b"\n".join([*lines, b""]) + b"good,1.00\n"
    stored = gzip.compress(content, mtime=0) if packing else content
    rows, broken, values = read(landing, reader, f"p.csv{packing}", stored[: len(stored) - cut])
    assert len({*rows, *broken}) == len(rows) + len(broken)
    if not cut and not any(mark in line for line in lines for mark in (b'"', b"\r")):
        assert values[-1]["payment_id"] == "good"
        assert len(rows) + len(broken) == sum(1 for line in content.split(b"\n")[1:] if line)
    elif packing and cut:
        assert broken[-1] == f"p.csv{packing}"


def check_parquet(landing: Path, reader: Reader, places: list[tuple[int, int]], cut: int) -> None:
    whole = landing / ".whole"
    if not whole.exists():
        parquet.write_table(pa.table({"payment_id": ["good"] * 50, "amount": [1.5] * 50}), whole)
    content = bytearray(whole.read_bytes())
    for place, value in places:
        content[place % len(content)] = value
    rows, broken, _ = read(landing, reader, "p.parquet", bytes(content[: len(content) - cut]))
    assert broken in ([], ["p.parquet"])
    # Damage that the format has no way to notice changes values; it drops no row without a word.
    assert len(rows) == 50 or broken == ["p.parquet"]


LINES = st.lists(DAMAGE, max_size=6)
PLACES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4)
CUTS = st.sampled_from([0, 0, 0, 1, 9, 15])


@given(lines=LINES, packing=PACKINGS, cut=CUTS)
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=CHECKS)
def test_poisoned_json_lines(landing: Path, reader: Reader, lines: list[bytes], packing: str, cut: int) -> None:
    check_json(landing, reader, lines, packing, cut)


@given(lines=LINES, packing=PACKINGS, cut=CUTS)
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=CHECKS)
def test_poisoned_csv(landing: Path, reader: Reader, lines: list[bytes], packing: str, cut: int) -> None:
    check_csv(landing, reader, lines, packing, cut)


@given(places=PLACES, cut=CUTS)
@hypothesis_settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=CHECKS)
def test_poisoned_parquet(landing: Path, reader: Reader, places: list[tuple[int, int]], cut: int) -> None:
    check_parquet(landing, reader, places, cut)


@pytest.mark.services
@given(lines=LINES, places=PLACES, packing=PACKINGS, cut=CUTS)
@hypothesis_settings(max_examples=MANY, deadline=None, suppress_health_check=CHECKS)
def test_a_thousand_poisoned_files_of_each_format(  # noqa: PLR0913, PLR0917  (what a file is made of)
    landing: Path, reader: Reader, lines: list[bytes], places: list[tuple[int, int]], packing: str, cut: int
) -> None:
    check_json(landing, reader, lines, packing, cut)
    check_csv(landing, reader, lines, packing, cut)
    check_parquet(landing, reader, places, cut)


def test_parquet_that_is_damaged_without_a_word(landing: Path, reader: Reader) -> None:
    # Found by the test above: the number of a page's values is 0 then, and Arrow does not mind.
    check_parquet(landing, reader, [(36, 0)], 0)


def test_bytes_of_nothing(landing: Path, reader: Reader) -> None:
    for name in ("n.jsonl", "n.csv", "n.jsonl.gz", "n.parquet.gz"):
        _, broken, _ = read(landing, reader, name, os.urandom(3000))
        assert broken
