"""One world with eleven days of a shop loaded and built, put back for every defect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from assets_tests.defects.defect import KEPT_DAY
from assets_tests.defects.verdict import How, Verdict
from assets_tests.defects.world import World
from lakehouse.services.postgres import EmbeddedPostgres


@pytest.fixture(scope="module")
def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    name = f"defects_{uuid.uuid4().hex[:8]}"
    made = World(tmp_path_factory.mktemp("defects"), postgres, seed=7, scale=0.1, name=name)
    made.shop.create()
    made.shop.advance(KEPT_DAY)
    run = made.run()
    assert (run.held, run.refused) == ({}, {})
    made.keep()
    yield made
    made.close()


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Verdict]:
    """By the name of a defect, what became of it."""
    return {}


@pytest.fixture(scope="module")
def known() -> dict[int, dict[str, How]]:
    """By the days that go by, what is noticed when nothing goes wrong."""
    return {}
