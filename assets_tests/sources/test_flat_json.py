"""JSON lines are the same rows whether they are taken apart in bulk or one by one, and Python's own parser agrees."""

from __future__ import annotations

import json
from io import BytesIO

from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lakehouse.sources.json_lines import json_lines
from lakehouse.sources.lines import ROWS, TextFile
from lakehouse.sources.reader import Chunk

NAMES = ["a", "b"]
TEXTS = st.one_of(
    st.sampled_from([', "b": 1', ",", '"', "{", "}", ":a", " ", "a, b: c", "null", "\\", "é", "\x7f", "\x01"]),
    st.text(max_size=5),
)
NUMBERS = st.sampled_from(["0", "-0", "1.50", "1e5", "-2.5E-3", "12345678901234567890.10"])
WORDS = st.sampled_from(["null", "true", "false", "[1, 2.0]", '{"a": 1.0}', "01", "1.", "nul", "NaN", ""])
KEYS = st.sampled_from([*NAMES, "x", "y.z", "not plain", "ignored"])
FLAT_VALUES = st.sampled_from(["null", "true", "1.50", '""', '"null"', '"a, b: c"', '"é"', '"}"'])
VALUES = TEXTS.map(json.dumps) | TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False)) | NUMBERS | WORDS
SPACES = st.sampled_from([(":", ","), (": ", ", "), (" :", " ,")])


@st.composite
def lines(draw: st.DrawFn) -> str:
    (colon, comma), pairs = draw(SPACES), draw(st.lists(st.tuples(KEYS, VALUES), max_size=4))
    return "{" + comma.join(f'"{key}"{colon}{value}' for key, value in pairs) + "}" + draw(st.sampled_from(["", "\r"]))


@st.composite
def alike(draw: st.DrawFn) -> list[str]:
    """Lines with the same keys in the same order, as programs write them; perhaps with another one among them."""
    keys = draw(st.lists(st.sampled_from([*NAMES, "x", "long_name", "ignored"]), min_size=1, max_size=4))
    values = draw(st.lists(st.lists(FLAT_VALUES, min_size=len(keys), max_size=len(keys)), min_size=1, max_size=6))
    colon, comma = draw(st.sampled_from([(":", ","), (": ", ", ")]))
    written = [
        "{" + comma.join(f'"{key}"{colon}{value}' for key, value in zip(keys, row, strict=True)) + "}" for row in values
    ]
    other = draw(st.none() | lines())
    if other is not None:
        written.insert(draw(st.integers(0, len(written))), other)
    return written


def read(content: bytes, names: list[str] | None = NAMES, encoding: str = "utf-8") -> list[Chunk]:
    return list(json_lines(BytesIO(content), TextFile("f", encoding), names, ["ignored"]))


def told(chunks: list[Chunk]) -> dict[str, object]:
    """What each line has become: its values, its payload and what it has beyond the contract; or its payload alone."""
    found: dict[str, object] = {}
    for chunk in chunks:
        assert not isinstance(chunk.source, str)
        assert chunk.payload is not None
        extra = [None] * len(chunk.rows) if chunk.extra is None else chunk.extra.to_pylist()
        given = zip(chunk.rows.to_pylist(), chunk.payload.to_pylist(), map(_loaded, extra), strict=True)
        found |= dict(zip(chunk.source.to_pylist(), given, strict=True))
        assert chunk.source.to_pylist() == sorted(chunk.source.to_pylist(), key=_number)
        found |= {record.source: record.payload for record in chunk.broken}
    return found


def _number(source: str) -> int:
    return int(source.rpartition(":")[2])


def _loaded(text: str | None) -> object:
    return None if text is None else json.loads(text, parse_float=str, parse_int=str)


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else "nested"


def wanted(line: str) -> object:
    """What Python makes of a line."""

    def refuse(name: str) -> object:
        raise ValueError(name)

    stripped = line.strip("\r")
    try:
        record = json.loads(stripped, parse_float=str, parse_int=str, parse_constant=refuse)
    except ValueError:
        return stripped.encode()
    extra = {key: value for key, value in record.items() if key not in {*NAMES, "ignored"}}
    return {name: _as_text(record.get(name)) for name in NAMES}, stripped, extra or None


@given(given_lines=st.lists(lines(), min_size=1, max_size=8) | alike(), end=st.sampled_from(["", "\n"]))
@example(['{"a":1,"b":2}', '{"b":1,"a":2}'], "\n")
@example(['{"xy":1,"z":2}', '{"x":1,"yz":2}'], "\n")
@example(['{"a":1,"a":null}', '{"a":2,"a":3}'], "\n")
@example(['{"a":1,"a":null}', '{"a":"x,","b":" "}', '{"x":null,"y.z":"p"}', '{"x":"q"}'], "")
@hypothesis_settings(max_examples=300, deadline=None)
def test_each_line_is_what_python_says(given_lines: list[str], end: str) -> None:
    """A last line without an end is taken apart by itself."""
    found = told(read(("\n".join(given_lines) + end).encode("utf-8", "surrogatepass")))
    assert len(found) == len(given_lines)
    for number, line in enumerate(given_lines, 1):
        expected, is_now = wanted(line), found[f"f:{number}"]
        if isinstance(expected, tuple) and "nested" in expected[0].values():
            # How nested values are written is no business of Python's parser.
            assert isinstance(is_now, tuple)
            assert is_now[1:] == expected[1:]
        elif not _half(line):
            assert is_now == expected


def _half(line: str) -> bool:
    """Whether an escape stands for half a character, which is no text."""
    try:
        json.dumps(json.loads(line), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except ValueError:
        pass
    return False


def test_other_lines_stand_where_they_stood_among_flat_ones() -> None:
    content = b'{"a": "1"}\n{"a": [2]}\n{"a": "3"}\nno\n\n{"a": "\\u0036"}\n{"a": "7"}'
    (chunk,) = read(content)
    assert chunk.rows.column("a").to_pylist() == ["1", "[2]", "3", "6", "7"]
    assert chunk.source.to_pylist() == ["f:1", "f:2", "f:3", "f:6", "f:7"]  # type: ignore[union-attr]
    (broken,) = chunk.broken
    assert broken.error.endswith("(line 4, from byte 33)")


def test_keys_that_are_values_themselves_take_no_room() -> None:
    content = b"".join(b'{"k%d": 1, "a": "%d"}\n' % (number, number) for number in range(5000))
    (chunk,) = read(content)
    assert chunk.rows.column("a").to_pylist() == [str(number) for number in range(5000)]
    assert chunk.extra is not None
    assert chunk.extra[4999].as_py() == '{"k4999": 1}'


def test_every_encoding_and_a_byte_order_mark_are_taken_apart() -> None:
    for encoding, mark in (("utf-8", b"\xef\xbb\xbf"), ("latin-1", b"")):
        (chunk,) = read(mark + '{"a":"é"}\n{"a":"ü","x":1}\n'.encode(encoding), encoding=encoding)
        assert chunk.rows.column("a").to_pylist() == ["é", "ü"]
        assert chunk.payload is not None
        assert chunk.payload.to_pylist() == ['{"a":"é"}', '{"a":"ü","x":1}']


def test_chunks_are_bounded_where_flat_lines_and_others_take_turns() -> None:
    content = b'{"a":1}\n{"a":[1]}\n' * (ROWS // 2) + b'{"a":1}'
    assert [chunk.count for chunk in read(content)] == [ROWS, 1]


def test_without_names_every_key_is_a_column() -> None:
    (chunk,) = read(b'{"b": 1, "ignored": 2}\n{"a": true}\n', names=None)
    assert chunk.rows.to_pylist() == [
        {"b": "1", "ignored": "2", "a": None},
        {"b": None, "ignored": None, "a": "true"},
    ]
    assert chunk.extra is None
