"""What the tests of sources share: a table declared in a line, and settings whose sources are real and in reach."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from assets_tests.sources.landed import PAYMENT
from lakehouse.settings import Settings, load_settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.tables import Column, LoadPolicy, Table, TableName

MakeTable = Callable[..., Table]


@pytest.fixture
def make_table() -> MakeTable:
    def make(source: str, options: Mapping[str, object], columns: Mapping[str, str]) -> Table:
        return Table(
            name=TableName.parse("bronze.things"),
            domain="shop",
            description="",
            columns=tuple(Column(name, kind) for name, kind in columns.items()),
            file=Path("defs/shop/bronze/things.yaml"),
            load=LoadPolicy(source, options),
            primary_key=("id",) if "id" in columns else (),
        )

    return make


@pytest.fixture
def make_settings(settings: Settings) -> Callable[..., Settings]:
    """Settings with these sources beside the landing folder of the state folder."""

    def make(**sources: Mapping[str, object]) -> Settings:
        landing = settings.state / "landing"
        landing.mkdir(exist_ok=True)
        return load_settings(
            settings.project,
            state=str(settings.state),
            sources={"landing": {"kind": "files", "root": "landing", "settle": 0}, **sources},
        )

    return make


@pytest.fixture
def shop(make_settings: Callable[..., Settings], database: SecretStr) -> Settings:
    """Settings whose source `shop` is the fresh database."""
    return make_settings(shop={"kind": "postgres", "url": database.get_secret_value()})


@pytest.fixture
def landing(make_settings: Callable[..., Settings]) -> Path:
    """The landing folder."""
    return make_settings().state / "landing"


@pytest.fixture
def reader(make_settings: Callable[..., Settings], make_table: MakeTable) -> Callable[..., SourceReader]:
    """reader(pattern): such files of the landing folder, with rows of payments."""

    def make(pattern: str, columns: dict[str, str] | None = None, **options: object) -> SourceReader:
        return open_source(make_settings(), make_table("landing", {"files": pattern, **options}, columns or PAYMENT))

    return make


@pytest.fixture
def source(database: SecretStr) -> Iterator[psycopg.Connection]:
    """A connection to the fresh database, which has a table `things`."""
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute(
            "create table things (id bigint primary key, name text, updated_at timestamptz not null default now())"
        )
        yield connection
