"""PostgreSQL: what a person is told when it cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.sources.things import AHEAD, BY_TIME, THINGS, ids_of
from lakehouse.errors import ContractError, SettingsError, SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import open_source
from lakehouse.tables import Table


def test_a_missing_table_is_named_with_those_that_are_there(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    table = make_table("shop", {**BY_TIME, "table": "public.thing"}, THINGS)
    with pytest.raises(SourceChanged, match=r"no table public\.thing.*bronze\.things.*public\.things"):
        open_source(shop, table).read(None)
    assert source.closed is False


def test_missing_columns_are_named_with_those_that_are_there(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    table = make_table("shop", BY_TIME, {**THINGS, "email": "string", "phone": "string"})
    table = replace(table, columns=tuple(replace(column, required=True) for column in table.columns))
    with pytest.raises(SourceChanged, match=r"no column 'email', 'phone'.*found id, name, updated_at"):
        open_source(shop, table).read(None)
    source.execute("alter table things drop updated_at")
    with pytest.raises(SourceChanged, match="no column 'updated_at'"):
        open_source(shop, make_table("shop", BY_TIME, {"id": "long"})).read(None)


def test_a_watermark_that_is_no_time_is_refused(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id) values (1)")
    with pytest.raises(SourceChanged, match=r"public\.things\.id cannot be a watermark.*found bigint"):
        open_source(shop, make_table("shop", {**BY_TIME, "watermark": "id"}, THINGS)).read(None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"table": "public.things"}, "'watermark'.*every load would add the whole table"),
        ({"watermark": "updated_at"}, "'table'"),
        ({**BY_TIME, "watermrk": "x"}, "'watermrk'.*one of chunk_mb, clock, ignore, lag, table, watermark"),
        ({**BY_TIME, "clock": 5}, "'clock'.*found 5"),
    ],
)
def test_wrong_options_name_the_contract_and_the_option(
    shop: Settings, make_table: Callable[..., Table], options: dict[str, object], said: str
) -> None:
    with pytest.raises(ContractError, match=f"defs/shop/bronze/things.yaml.*{said}"):
        open_source(shop, make_table("shop", options, THINGS))


@pytest.mark.parametrize("clock", ["no_such_clock()", "now(", "nonsense"])
def test_a_clock_that_cannot_be_asked_is_named(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table], clock: str
) -> None:
    source.execute("insert into things (id) values (1)")
    with pytest.raises(SourceChanged) as caught:
        open_source(shop, make_table("shop", {**BY_TIME, "clock": clock}, THINGS)).read(None)
    assert clock in str(caught.value)


def test_a_clock_without_time_is_refused(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id) values (1)")
    # SQL's least() leaves NULL out: the bound would silently be something else.
    with pytest.raises(SourceError, match="answers no time"):
        open_source(shop, make_table("shop", {**BY_TIME, "clock": "null"}, THINGS)).read(None)


def test_a_position_of_another_source_is_refused(
    shop: Settings, source: psycopg.Connection, make_table: Callable[..., Table]
) -> None:
    source.execute("insert into things (id) values (1)")
    with pytest.raises(SourceError, match="not one of a watermark"):
        open_source(shop, make_table("shop", BY_TIME, THINGS)).read({"files": {}})


def test_nobody_there_is_unreachable_and_no_secret_is_told(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    url = "postgresql://reader:hunter2@127.0.0.1:1/shop?connect_timeout=2"
    settings = make_settings(shop={"kind": "postgres", "url": url})
    with pytest.raises(SourceUnreachable) as caught:
        open_source(settings, make_table("shop", BY_TIME, THINGS)).read(None)
    assert "host 127.0.0.1, database shop" in str(caught.value)
    assert "hunter2" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_an_address_that_cannot_be_read_tells_no_secret(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    settings = make_settings(shop={"kind": "postgres", "url": "host=db password=hunter2 hunter2"})
    with pytest.raises(SettingsError, match="url of source 'shop'") as caught:
        open_source(settings, make_table("shop", BY_TIME, THINGS)).read(None)
    assert "hunter2" not in repr(caught.value)


def with_user(database: SecretStr, user: str, password: str) -> str:
    return psycopg.conninfo.make_conninfo(database.get_secret_value(), user=user, password=password)


def test_an_unknown_user_is_refused(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table], database: SecretStr
) -> None:
    settings = make_settings(shop={"kind": "postgres", "url": with_user(database, "nobody_known", "hunter2")})
    with pytest.raises(SourceRefused, match="refused access") as caught:
        open_source(settings, make_table("shop", BY_TIME, THINGS)).read(None)
    assert "hunter2" not in repr(caught.value)


def test_a_table_without_grant_is_refused_not_missing(
    make_settings: Callable[..., Settings],
    make_table: Callable[..., Table],
    database: SecretStr,
    source: psycopg.Connection,
) -> None:
    source.execute("drop role if exists no_grant")
    source.execute("create role no_grant login in role pg_read_all_stats")
    settings = make_settings(shop={"kind": "postgres", "url": with_user(database, "no_grant", "x")})
    with pytest.raises(SourceRefused, match="permission denied for table things"):
        open_source(settings, make_table("shop", BY_TIME, THINGS)).read(None)


def test_hidden_transactions_are_refused_with_the_grant_that_helps(
    make_settings: Callable[..., Settings],
    make_table: Callable[..., Table],
    database: SecretStr,
    source: psycopg.Connection,
) -> None:
    source.execute("drop role if exists half_blind")
    source.execute("create role half_blind login")
    source.execute("grant select on things to half_blind")
    source.execute("insert into things (id) values (1)")
    settings = make_settings(shop={"kind": "postgres", "url": with_user(database, "half_blind", "x")})
    reader = open_source(settings, make_table("shop", AHEAD, THINGS))
    with pytest.raises(SourceRefused, match="GRANT pg_read_all_stats"):
        reader.read(None)
    source.execute("grant pg_read_all_stats to half_blind")
    assert ids_of(reader.read(None)) == [1]
