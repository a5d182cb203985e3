"""How the pages of an API follow each other, how it is asked for what is new, and where in a record a column stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date

import pytest

from assets_tests.sources.served import Reply, Served, served
from lakehouse.errors import ContractError, SourceChanged, SourceError
from lakehouse.settings import Settings
from lakehouse.sources import Extract, SourceReader, open_source
from lakehouse.sources.reader import RangeReader
from lakehouse.tables import Position, Table, Window

Reader = Callable[..., SourceReader]
COLUMNS = {"id": "long"}


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as one:
        yield one


@pytest.fixture
def reader(api: Served, make_settings: Callable[..., Settings], make_table: Callable[..., Table]) -> Reader:
    def make(fields: Mapping[str, str] = COLUMNS, **options: object) -> SourceReader:
        stated = {"path": "/things", "records": "things", "since": "since", "watermark": "at", **options}
        settings = make_settings(api={"kind": "http", "base_url": api.url})
        return open_source(settings, make_table("api", stated, fields))

    return make


def thing(number: int, at: str = "2026-01-01") -> dict[str, object]:
    return {"id": number, "at": at}


def ids(extract: Extract | None) -> list[int]:
    assert extract is not None
    return [
        int(row["id"]) for chunk in extract.chunks if "id" in chunk.rows.schema.names for row in chunk.rows.to_pylist()
    ]


def test_numbers_are_counted_up_to_an_empty_page(api: Served, reader: Reader) -> None:
    api.answer = lambda _, query: {"things": [thing(int(query["p"]))] if int(query["p"]) < 3 else []}
    assert ids(reader(pagination="page", page="p", first_page=0).read(None)) == [0, 1, 2]
    assert api.queries == [{"p": str(number)} for number in range(4)]


def test_numbers_are_counted_up_to_a_short_page_or_a_total(api: Served, reader: Reader) -> None:
    def answer(_: str, query: Mapping[str, str]) -> object:
        first = (int(query["page"]) - 1) * 2
        return {"things": [thing(number) for number in range(5)][first : first + 2], "meta": {"total": 5}}

    api.answer = answer
    for options in ({"page_size": 2}, {"total": "meta.total"}):
        api.asked.clear()
        assert ids(reader(pagination="page", params={"per_page": 2}, **options).read(None)) == [0, 1, 2, 3, 4]
        assert api.queries == [{"per_page": "2", "page": str(number)} for number in (1, 2, 3)]


@pytest.mark.parametrize("end", [None, "", False])
def test_a_cursor_is_sent_until_there_is_none(api: Served, reader: Reader, end: object) -> None:
    following = {None: "x=/&", "x=/&": "c2", "c2": end}
    api.answer = lambda _, query: {"things": [thing(len(api.asked))], "meta": {"next": following[query.get("after")]}}
    extract = reader(pagination="cursor", page="after", next_page="meta.next").read({"watermark": "2025-12-31"})
    assert ids(extract) == [1, 2, 3]
    since = {"since": "2026-01-01"}
    assert api.queries == [since, {**since, "after": "x=/&"}, {**since, "after": "c2"}]


@pytest.mark.parametrize("kind", ["link", "next"])
def test_addresses_are_followed_as_they_are(api: Served, reader: Reader, kind: str) -> None:
    ways = {"/things": "/more?page=2&since=x", "/more": f"{api.url}/last", "/last": None}

    def answer(path: str, _: Mapping[str, str]) -> Reply:
        way = ways[path]
        link = {"link": f'<{api.url}/first>; rel="first", <{way}>; rel="next"'} if way and kind == "link" else {}
        return Reply(
            {"things": [thing(len(api.asked))], "next_page": way if kind == "next" else "not this"}, headers=link
        )

    api.answer = answer
    assert ids(reader(pagination=kind, params={"status": "all"}).read(None)) == [1, 2, 3]
    assert [(path, query) for path, query, _ in api.asked] == [
        ("/things", {"status": "all"}),
        ("/more", {"page": "2", "since": "x"}),
        ("/last", {}),
    ]


def test_one_page_is_all_where_there_are_no_others(api: Served, reader: Reader) -> None:
    api.answer = lambda _path, _query: {"things": [thing(1)], "next_page": 2}
    assert ids(reader(pagination="none").read(None)) == [1]
    assert api.queries == [{}]


@pytest.mark.parametrize("kind", ["numbered", "page", "cursor", "link", "next"])
def test_pages_that_repeat_for_ever_are_refused(api: Served, reader: Reader, kind: str) -> None:
    following = "/things" if kind == "next" else 1
    link = {"link": f'<{api.url}/things>; rel="next"'}
    api.answer = lambda _path, _query: Reply({"things": [thing(1)], "next_page": following}, headers=link)
    with pytest.raises(SourceChanged, match="the pages of /things do not end"):
        reader(pagination=kind, max_pages=50).read(None)
    assert len(api.asked) <= 3


def test_pages_that_are_always_new_are_refused_after_so_many(api: Served, reader: Reader) -> None:
    api.answer = lambda _path, _query: {"things": [thing(len(api.asked))], "next_page": len(api.asked)}
    with pytest.raises(SourceChanged, match=r"do not end.*more than 5 pages \(`max_pages`\)"):
        reader(pagination="cursor", max_pages=5).read(None)
    assert len(api.asked) == 5


def test_a_next_page_elsewhere_is_not_asked_for(api: Served, reader: Reader) -> None:
    api.answer = lambda _path, _query: {"things": [thing(1)], "next_page": "http://elsewhere.example/things?key=1"}
    with pytest.raises(SourceChanged, match=r"lies elsewhere.*found elsewhere\.example"):
        reader(pagination="next").read(None)


def test_moments_are_asked_for_again_and_what_was_read_of_the_latest_is_left_out(api: Served, reader: Reader) -> None:
    early, late = "2026-01-01T10:00:00Z", "2026-01-01T12:00:00+01:00"
    everything = [thing(1, early), thing(2, late)]
    api.answer = lambda _path, _query: {"things": everything}
    opened = reader(closed="none")
    first = opened.read(None)
    assert ids(first) == [1, 2]
    assert first is not None
    position: Position = json.loads(json.dumps(first.reached))
    everything[:] = [thing(2, late)]
    assert opened.read(position) is None
    assert not opened.pending(position)
    everything += [thing(3, "2026-01-01T11:00:00Z"), thing(4, "2026-01-01T11:00:01Z")]
    second = opened.read(position)
    assert second is not None
    assert (ids(second), second.expected_rows) == ([3, 4], 2)
    assert api.queries[1] == {"since": late, "page": "1"}
    everything[:] = [thing(4, "2026-01-01T11:00:01Z")]
    assert opened.read(second.reached) is None


def test_numbers_can_be_the_watermark(api: Served, reader: Reader) -> None:
    api.answer = lambda _, query: {
        "things": [thing(n) for n in range(8, 12) if query.get("since_id") in {None, f"{n}"}]
    }
    opened = reader(closed="none", watermark="id", since="since_id")
    first = opened.read(None)
    assert first is not None
    assert (ids(first), first.reached["watermark"]) == ([8, 9, 10, 11], "11")
    assert opened.read(first.reached) is None
    api.answer = lambda _path, _query: {"things": [thing(1)]}
    with pytest.raises(SourceError, match="cannot be loaded by days"):
        opened.between(Window.of_days(date(2026, 1, 1), date(2026, 1, 1)))  # type: ignore[attr-defined]  # a RangeReader


def test_what_is_older_than_asked_for_is_refused(api: Served, reader: Reader) -> None:
    api.answer = lambda _path, _query: {"things": [thing(1, "2026-01-01T00:00:00Z")]}
    with pytest.raises(SourceChanged, match="which it was not asked for"):
        reader(closed="none").read({"watermark": "2026-01-02T00:00:00Z", "seen": []})


@pytest.mark.parametrize("moments", [False, True])
def test_days_are_asked_for_again(api: Served, reader: Reader, *, moments: bool) -> None:
    clock = "T23:59:59Z" if moments else ""
    api.answer = lambda _path, _query: {"things": [thing(n, f"2026-01-0{n}{clock}") for n in range(1, 6)] + [7]}
    opened = reader(until="until", closed="none" if moments else "day")
    assert isinstance(opened, RangeReader)
    extract = opened.between(Window.of_days(date(2026, 1, 2), date(2026, 1, 3)))
    assert ids(extract) == [2, 3]
    # What has no day may be of these.
    assert extract is not None
    assert extract.expected_rows == 3
    begin = "T00:00:00Z" if moments else ""
    assert api.queries == [{"since": f"2026-01-02{begin}", "until": f"2026-01-04{begin}", "page": "1"}]
    api.answer = lambda _path, _query: {"things": []}
    assert opened.between(Window.of_days(date(2026, 1, 2), date(2026, 1, 3))) is None


def test_columns_stand_where_their_paths_say(api: Served, reader: Reader) -> None:
    record = {
        "key": {"id": 7},
        "at": "2026-01-01",
        "money": {"amount": 1.10, "currency": "EUR"},
        "lines": [{"sku": "A", "n": 1}],
        "amount": "not this",
    }
    api.answer = lambda _path, _query: {"things": [record]}
    fields = {"id": "long", "amount": "decimal(10, 2)", "sku": "string"}
    paths = {"id": "$.key.id", "amount": "money.amount", "sku": "$.lines[0].sku"}
    extract = reader(fields, columns=paths, ignore=["at"]).read(None)
    assert extract is not None
    chunk = [chunk for chunk in extract.chunks if chunk.count][0]  # noqa: RUF015  (the others are empty)
    assert chunk.rows.to_pylist() == [{"id": "7", "amount": "1.1", "sku": "A"}]
    assert chunk.extra is not None
    assert json.loads(chunk.extra[0].as_py()) == {
        "money": {"currency": "EUR"},
        "lines": [{"sku": "A", "n": 1}],
        "$.amount": "not this",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pagination": "endless"}, "'pagination'.*one of numbered, page"),
        ({"columns": {"other": "$.x"}}, "'columns'.*a path for each"),
        ({"columns": ["id"]}, "'columns'"),
        ({"params": ["x"]}, "'params'.*texts by name"),
        ({"max_pages": "many"}, "'max_pages'"),
    ],
)
def test_wrong_options_are_named(reader: Reader, options: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        reader(**options)
