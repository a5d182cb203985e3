"""What the tests of sources share: a table declared in a line, and settings whose sources are real and in reach."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings, load_settings
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
            sources={"landing": {"kind": "files", "root": "landing"}, **sources},
        )

    return make


@pytest.fixture
def shop(make_settings: Callable[..., Settings], database: SecretStr) -> Settings:
    """Settings whose source `shop` is the fresh database."""
    return make_settings(shop={"kind": "postgres", "url": database.get_secret_value()})
