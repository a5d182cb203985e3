"""The versions of keys against brute force, on any log of changes, in any order, split anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from assets_tests.iceberg.merge.dim import WHOLE, Dim, dimension
from assets_tests.iceberg.merge.history_oracle import LAST, Change, Known, Version, last_word, names, told_by, versions
from lakehouse.iceberg.merge.versions import STORED, broken

KEYS = [(shop, number) for shop in "abc" for number in (1, 2, 3)]
CHANGE = st.builds(
    Change,
    st.sampled_from(KEYS),
    st.integers(0, LAST),
    st.none() | st.tuples(st.sampled_from(["x", "y", None]), st.sampled_from([1, None])),
)
BATCHES = st.lists(st.lists(CHANGE, min_size=1, max_size=40), min_size=1, max_size=3)

quick = settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def duck() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET threads = 1")
        connection.execute("CREATE SEQUENCE positions")
        yield connection


def a(at: int, value: str | None) -> Change:
    """Of one and the same key."""
    return Change(("a", 1), at, None if value is None else (value, 1))


@quick
@given(BATCHES)
@example([[a(1, "x"), a(5, "x")], [a(3, "y")]])
@example([[a(5, None)], [a(3, "x")]])
def test_however_changes_come_the_versions_are_those_of_all_of_them(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    dim = Dim(duck)
    for batch in batches:
        dim.apply(batch)
        assert broken(duck, WHOLE) == 0
    assert dim.versions() == versions(last_word(change for batch in batches for change in batch))


@quick
@given(BATCHES)
@example([[a(1, "x"), a(5, "x")], [a(3, "y")]])
def test_without_the_repeats_they_are_those_of_the_table_and_the_changes(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    dim = Dim(duck)
    expected: set[Version] = set()
    for batch in batches:
        dim.apply(batch, forget=True)
        expected = versions(last_word(batch, told_by(expected)))
        assert dim.versions() == expected


@quick
@given(BATCHES)
@example([[a(1, "x")], [a(2, "x")], [a(3, None)], [a(4, None)], [a(5, "x")]])
def test_in_order_nothing_has_to_be_remembered(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    """No batch begins before the one before has ended; within a batch the newest come first."""
    ordered = sorted((change for batch in batches for change in batch), key=lambda change: change.at)
    dim, start = Dim(duck), 0
    for batch in batches:
        part = ordered[start : start + len(batch)]
        dim.apply(sorted(part, key=lambda change: -change.at), forget=True)
        start += len(batch)
    assert dim.versions() == versions(last_word(ordered))


@quick
@given(BATCHES)
def test_complete_changes_are_all_that_counts(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    """What the table held of these keys before does not; that of the other keys stays."""
    dim = Dim(duck)
    expected: set[Version] = set()
    for batch in batches:
        keys = {change.key for change in batch}
        others = {version for version in expected if version.key not in keys}
        expected = others | versions(last_word(batch))
        dim.apply(batch, complete=True)
        assert dim.versions() == expected


@quick
@given(BATCHES.filter(bool))
def test_the_same_changes_once_more_change_nothing(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    for forget in (False, True):
        dim = Dim(duck)
        for batch in batches:
            dim.apply(batch, forget=forget)
        found, beside = dim.versions(), dim.beside()
        assert dim.apply(batches[-1], forget=forget) == (0, 0)
        assert (dim.versions(), dim.beside()) == (found, beside)


def overwritten(known: Known, batch: Sequence[Change]) -> tuple[Known, set[Version]]:
    """The oracle where only the first attribute is tracked: the second is as the last change here said it."""
    arrived = last_word(batch)
    known = last_word(batch, known)
    tracked = {key: {at: values and values[:1] for at, values in moments.items()} for key, moments in known.items()}
    found = set()
    for key, since, until, values in versions(tracked):
        within = [at for at in known[key] if since <= at and (until is None or at < until)]
        told = known[key][max([at for at in within if at in arrived.get(key, {})] or within)]
        assert told is not None
        # Type 1: what it was before is not known any more.
        known[key] |= dict.fromkeys(within, (*values, told[1]))
        found.add(Version(key, since, until, (*values, told[1])))
    return known, found


@quick
@given(BATCHES)
@example([[Change(("a", 1), 5, ("x", 1))], [Change(("a", 1), 1, ("x", 2))], [Change(("a", 1), 7, ("x", 3))]])
def test_attributes_that_are_not_tracked_are_overwritten_within_their_version(
    duck: duckdb.DuckDBPyConnection, batches: Sequence[Sequence[Change]]
) -> None:
    dim = Dim(duck, dimension(tracked=("name",)))
    known: Known = {}
    for batch in batches:
        dim.apply(batch)
        known, expected = overwritten(known, batch)
        assert dim.versions() >= {version for version in expected if version.key in {of.key for of in batch}}
        assert dim.apply(batch) == (0, 0)


def test_with_nothing_tracked_a_version_is_as_long_as_the_key_is_there(duck: duckdb.DuckDBPyConnection) -> None:
    dim = Dim(duck, dimension(tracked=()))
    dim.apply([a(1, "x"), a(3, "y"), a(5, None), a(7, "z")])
    assert dim.versions() == {Version(("a", 1), 1, 5, ("y", 1)), Version(("a", 1), 7, None, ("z", 1))}


def test_what_rows_do_not_bring_any_more_stays_with_versions_that_stay(duck: duckdb.DuckDBPyConnection) -> None:
    """A version that begins anew has nothing there; one that only ends sooner is the one that it was."""
    dim = Dim(duck)
    dim.apply([a(1, "x"), a(5, "y")])
    dim.of = dimension(retired=("size",))
    assert dim.apply([a(3, "z")]) == (1, 2)
    assert dim.versions() == {
        Version(("a", 1), 1, 3, ("x", 1)),
        Version(("a", 1), 3, 5, ("z", None)),
        Version(("a", 1), 5, None, ("y", 1)),
    }


def test_versions_that_do_not_change_are_not_touched(duck: duckdb.DuckDBPyConnection) -> None:
    dim = Dim(duck)
    assert dim.apply([a(1, "x"), a(3, "y"), a(5, "z"), a(7, "x")]) == (0, 4)
    assert dim.apply([a(4, "w")]) == (1, 2)
    assert dim.apply([a(4, "y")]) == (2, 1)
    assert dim.apply([a(9, None)]) == (1, 1)


@pytest.mark.parametrize(
    "rows",
    [
        [(1, 3), (2, None)],
        [(1, None), (2, None)],
        [(1, 2), (1, 2)],
        [(2, 2)],
        [(2, 1)],
        [(None, 1)],
    ],
)
def test_versions_that_nobody_of_ours_wrote_are_counted(
    duck: duckdb.DuckDBPyConnection, rows: list[tuple[int | None, int | None]]
) -> None:
    Dim(duck).apply([a(3, "x"), a(5, None), a(7, "x")])
    assert broken(duck, WHOLE) == 0
    for number in (1, 2):
        duck.execute(f"DELETE FROM {STORED}")
        for since, until in rows:
            told = [since, "a", number, until]
            duck.execute(f"INSERT INTO {STORED} VALUES (0, 0, ?, ?, ?, 'x', ?, 1, false)", told)
        assert broken(duck, WHOLE) == 1


def test_attributes_of_one_hash_are_compared_themselves(duck: duckdb.DuckDBPyConnection) -> None:
    """Two rows of attributes that DuckDB hashes to the same: found by undoing its hash of integers."""
    [(name, whole)] = duck.execute("SELECT hash('y'::VARCHAR), hash('x'::VARCHAR, 1::BIGINT)").fetchall()
    factor, bits = 0xD6E8FEB86659FD93, 2**64
    mixed = (name ^ name >> 32) * factor % bits ^ whole
    for _ in range(2):
        mixed = (mixed ^ mixed >> 32) * pow(factor, -1, bits) % bits
    size = mixed ^ mixed >> 32
    size = size - bits if size >= bits // 2 else size
    assert duck.execute("SELECT hash('y'::VARCHAR, ?::BIGINT)", [size]).fetchall() == [(whole,)]
    dim = Dim(duck)
    dim.apply([a(1, "x"), Change(("a", 1), 3, ("y", size)), a(5, "x")])
    assert names(dim.versions()) == [(1, 3, "x"), (3, 5, "y"), (5, None, "x")]
    dim.apply([Change(("a", 1), 5, ("y", size))])
    assert names(dim.versions()) == [(1, 3, "x"), (3, None, "y")]
    dim.apply([a(3, "x")])
    assert names(dim.versions()) == [(1, 5, "x"), (5, None, "y")]
