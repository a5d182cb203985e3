"""A shop of full size that has lived thirty days, made once; and small ones for tests that change them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.demo import Scale, Shop
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.storage import FolderStore

Query = Callable[..., list[tuple[Any, ...]]]


class Month:
    """A shop, where it lives, and a way to ask its database."""

    def __init__(self, shop: Shop, url: SecretStr, landing: Path, files: Sequence[str] = ()) -> None:
        self.shop, self.url, self.landing, self.files = shop, url, landing, files

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(psycopg.connect(self.url.get_secret_value(), autocommit=True)) as connection:
            return connection.execute(query.encode(), values or None).fetchall()

    def lines(self) -> dict[str, list[str]]:
        return {path.name: path.read_text().splitlines() for path in sorted((self.landing / "payments").iterdir())}


@pytest.fixture
def new_shop(postgres: EmbeddedPostgres, tmp_path: Path) -> Callable[..., Month]:
    def make(seed: int = 7, factor: float = 0.05) -> Month:
        name = f"shop_{uuid.uuid4().hex[:12]}"
        url, landing = postgres.uri(name), tmp_path / name
        return Month(Shop(url, FolderStore(landing), seed, Scale().times(factor)), url, landing)

    return make


@pytest.fixture(scope="session")
def month(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Month:
    url, landing = postgres.uri("shop_month"), tmp_path_factory.mktemp("landing")
    shop = Shop(url, FolderStore(landing))
    shop.create()
    files = shop.advance(30)
    return Month(shop, url, landing, files)
