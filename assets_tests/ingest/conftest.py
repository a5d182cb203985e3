"""What the tests of loads share: a bronze table declared in a line, and a real source to load it from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings, load_settings
from lakehouse.tables import Column, LoadPolicy, Rule, Table, TableName


@pytest.fixture(scope="session")
def make_table() -> Callable[..., Table]:
    def make(  # noqa: PLR0913  (what a contract may say)
        columns: Mapping[str, str],
        *,
        required: Sequence[str] = (),
        rules: Sequence[Rule] = (),
        source: str = "landing",
        options: Mapping[str, object] | None = None,
        reject_limit: float = 0.5,
        reject_rows: int | None = None,
        window: str | None = None,
        key: Sequence[str] = (),
    ) -> Table:
        return Table(
            name=TableName.parse("bronze.payments"),
            domain="shop",
            description="Payments.",
            columns=tuple(Column(name, kind, required=name in required) for name, kind in columns.items()),
            file=Path("defs/shop/bronze/payments.yaml"),
            load=LoadPolicy(source, options or {"files": "*.jsonl"}, reject_limit, reject_rows),
            rules=tuple(rules),
            window_column=window,
            primary_key=tuple(key),
        )

    return make


@pytest.fixture
def landing(settings: Settings) -> Settings:
    """Settings with a landing folder as their only source."""
    (settings.state / "landing").mkdir()
    return load_settings(
        settings.project,
        state=str(settings.state),
        catalog={"uri": settings.catalog.uri.get_secret_value()},
        sources={"landing": {"kind": "files", "root": "landing", "settle": 0}},
    )


@pytest.fixture
def sources(settings: Settings, database: SecretStr) -> Settings:
    """Settings with a landing folder and the fresh database as sources."""
    (settings.state / "landing").mkdir()
    return load_settings(
        settings.project,
        state=str(settings.state),
        catalog={"uri": settings.catalog.uri.get_secret_value()},
        # Tests of errors wait for nothing; those of retries say so.
        loads={"retry_seconds": 0},
        sources={
            "landing": {"kind": "files", "root": "landing", "settle": 0},
            "shop": {"kind": "postgres", "url": database.get_secret_value()},
        },
    )
