"""Whether a source has something new: True exactly when a read would have something, and asked without reading rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from lakehouse.errors import ContractError, SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.tables import Position, Table

MakeTable = Callable[..., Table]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BY_TIME = {"table": "public.things", "watermark": "updated_at"}
FIXED = {**BY_TIME, "clock": f"timestamptz '{NOON.isoformat()}'"}
THINGS = {"id": "long"}


def would_read(reader: SourceReader, since: Position | None) -> bool:
    extract = reader.read(since)
    if extract is None:
        return False
    # What is not read on is closed, so that a connection of one question is not there at the next.
    with suppress(AttributeError):
        extract.chunks.close()  # type: ignore[attr-defined]  # a generator, of most sources
    return True


def reached(reader: SourceReader, since: Position | None = None) -> Position:
    extract = reader.read(since)
    assert extract is not None
    list(extract.chunks)
    return extract.reached


# Files


@pytest.fixture
def files(make_settings: Callable[..., Settings], make_table: MakeTable) -> SourceReader:
    return open_source(make_settings(), make_table("landing", {"files": "*.jsonl"}, {"id": "string"}))


def test_files_are_pending_until_they_were_read_and_when_they_change(landing: Path, files: SourceReader) -> None:
    assert not files.pending(None)
    (landing / "a.jsonl").write_text("{}")
    assert files.pending(None)
    first = reached(files)
    assert not files.pending(first)
    (landing / "0-late.jsonl").write_text("{}")
    assert files.pending(first)
    second = reached(files, first)
    (landing / "a.jsonl").write_text('{"id": "changed"}')
    assert files.pending(second)
    third = reached(files, second)
    # What goes away is no news: bronze keeps what it had.
    (landing / "a.jsonl").unlink()
    assert not files.pending(third)


@given(
    rounds=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, "", "{}", '{"id": "1"}'])), max_size=4
    )
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_are_pending_when_a_read_has_them(
    landing: Path, files: SourceReader, rounds: list[dict[str, str | None]]
) -> None:
    for file in landing.iterdir():
        file.unlink()
    since: Position | None = None
    for written in rounds:
        for name, content in written.items():
            file = landing / f"{name}.jsonl"
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.write_text(content)
        pending = files.pending(since)
        assert pending == would_read(files, since)
        since = reached(files, since) if pending else since
        assert not files.pending(json.loads(json.dumps(since)))


# PostgreSQL


@pytest.fixture
def source(database: SecretStr) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("create table things (id bigserial, updated_at timestamptz)")
        yield connection


@pytest.fixture
def postgres_reader(shop: Settings, make_table: MakeTable) -> Callable[..., SourceReader]:
    def make(columns: dict[str, str] = THINGS, **options: object) -> SourceReader:
        return open_source(shop, make_table("shop", {**FIXED, **options}, columns))

    return make


# Around the bound of the fixed clock, a second before noon, and a position an hour before.
TIMES = st.none() | st.sampled_from([-7200, -3601, -3600, -3599, -60, -2, -1, 0, 1]).map(
    lambda seconds: NOON + timedelta(seconds=seconds)
)
POSITIONS = st.sampled_from([None, -7200, -3600, -1, 0, 3600])


@given(times=st.lists(TIMES, max_size=3), since=POSITIONS)
@example(times=[None], since=None)
@example(times=[None], since=-3600)
@example(times=[NOON - timedelta(seconds=3600)], since=-3600)
@example(times=[NOON - timedelta(seconds=1)], since=-3600)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_pending_when_a_read_has_them(
    postgres_reader: Callable[..., SourceReader],
    source: psycopg.Connection,
    times: list[datetime | None],
    since: int | None,
) -> None:
    source.execute("truncate things")
    for time in times:
        source.execute("insert into things (updated_at) values (%s)", (time,))
    position: Position | None = None if since is None else {"watermark": (NOON + timedelta(seconds=since)).isoformat()}
    reader = postgres_reader()
    assert reader.pending(position) == would_read(reader, position)


def test_an_update_is_pending_and_after_its_load_not(
    postgres_reader: Callable[..., SourceReader], source: psycopg.Connection
) -> None:
    source.execute("insert into things (updated_at) values (%s)", (NOON - timedelta(days=10),))
    first = reached(postgres_reader())
    later = postgres_reader(clock=f"timestamptz '{NOON + timedelta(hours=1)}'")
    assert not later.pending(first)
    source.execute("update things set updated_at = %s", (NOON + timedelta(minutes=30),))
    assert not postgres_reader().pending(first)
    assert later.pending(first)
    assert not later.pending(reached(later, first))


def test_rows_of_a_transaction_that_commits_late_are_pending_once_they_can_be_read(
    postgres_reader: Callable[..., SourceReader], source: psycopg.Connection, database: SecretStr
) -> None:
    reader = postgres_reader(clock="clock_timestamp() + interval '1 hour'")
    with psycopg.connect(database.get_secret_value()) as late:
        late.execute("insert into things (updated_at) values (now())")
        # Written while the other transaction is open, so above the bound that it holds down.
        source.execute("insert into things (updated_at) values (now())")
        assert not reader.pending(None)
        late.commit()
    assert reader.pending(None)


def test_a_naive_watermark_is_taken_as_utc(
    postgres_reader: Callable[..., SourceReader], source: psycopg.Connection
) -> None:
    source.execute("alter table things alter updated_at type timestamp")
    source.execute("insert into things (updated_at) values ('2026-01-01 11:30')")
    reader = postgres_reader()
    assert reader.pending({"watermark": "2026-01-01T11:30:00+00:00"})
    assert not reader.pending({"watermark": "2026-01-01T11:30:01+00:00"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "public.nothing"}, "does not have what the contract names"),
        ({"watermark": "changed_at"}, "does not have what the contract names"),
        ({"watermark": "id"}, "does not have what the contract names"),
        ({"clock": "no_such_clock()"}, "no_such_clock"),
    ],
)
def test_a_source_that_is_not_what_the_contract_says_is_an_error(
    postgres_reader: Callable[..., SourceReader], source: psycopg.Connection, options: dict[str, object], said: str
) -> None:
    source.execute("select 1")
    with pytest.raises(SourceChanged, match=said):
        postgres_reader(**options).pending(None)


def test_a_position_of_another_source_is_refused(
    postgres_reader: Callable[..., SourceReader], source: psycopg.Connection, files: SourceReader
) -> None:
    source.execute("select 1")
    with pytest.raises(SourceError, match="not one of a watermark"):
        postgres_reader().pending({"files": {}})
    with pytest.raises(SourceError, match="not one of files"):
        files.pending({"watermark": "2026-01-01"})


def test_a_table_without_grant_and_hidden_transactions_are_refused(
    make_settings: Callable[..., Settings], make_table: MakeTable, database: SecretStr, source: psycopg.Connection
) -> None:
    source.execute("drop role if exists asker")
    source.execute("create role asker login")
    url = psycopg.conninfo.make_conninfo(database.get_secret_value(), user="asker", password="x")  # noqa: S106  (not asked for)
    reader = open_source(make_settings(shop={"kind": "postgres", "url": url}), make_table("shop", FIXED, THINGS))
    with pytest.raises(SourceRefused, match="GRANT pg_read_all_stats"):
        reader.pending(None)
    source.execute("grant pg_read_all_stats to asker")
    with pytest.raises(SourceRefused, match="permission denied"):
        reader.pending(None)
    source.execute("grant select on things to asker")
    assert not reader.pending(None)


def test_nobody_there_is_unreachable_and_no_secret_is_told(
    make_settings: Callable[..., Settings], make_table: MakeTable
) -> None:
    settings = make_settings(shop={"kind": "postgres", "url": "postgresql://u:hunter2@127.0.0.1:1/shop"})
    with pytest.raises(SourceUnreachable) as caught:
        open_source(settings, make_table("shop", BY_TIME, THINGS)).pending(None)
    assert "hunter2" not in repr(caught.value)


def test_a_source_that_the_settings_do_not_have(make_settings: Callable[..., Settings], make_table: MakeTable) -> None:
    with pytest.raises(ContractError, match=r"loads from 'shopp'.*one of landing"):
        open_source(make_settings(), make_table("shopp", {}, THINGS))
