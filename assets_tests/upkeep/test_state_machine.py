"""Upkeep among writers, an auditor, long readers, another program, evolution and kills, in any order: nothing is lost.

The model knows rows: those of every ref, and of every snapshot since it was first seen; and the deleted keys that
merges remember. After every step our scan, DuckDB and stock PyIceberg must agree with it, each file of every snapshot
must be there, and refs and progress must stand where they stood. Each run ends at rest: readers gone, one expiry, two
sweeps; then storage must hold what the newest metadata names, and not a file more.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.catalog.sql import SqlCatalog

from assets_tests.exploring import explore
from assets_tests.upkeep.machine.everybody import Everybody
from lakehouse.iceberg import Way
from lakehouse.settings import Settings

HAPPENED = {
    *(f"{effect} done" for effect in ("merge", "replace_keys", "history")),
    *(f"merged {what}" for what in ("updated", "inserted", "deleted")),
    *(f"replaced keys {what}" for what in ("updated", "inserted")),
    *(f"versions {what}" for what in ("updated", "inserted", "deleted")),
    *(f"files by {way}" for way in Way),
    *(f"evolve: {what}" for what in ("add", "rename", "promote", "partitions")),
    "overtaken by evolver",
}
"""What must have happened, at length. Rarer things have tests of their own: chance may leave them out."""


@pytest.fixture
def explore_upkeep(hide: Callable[..., None], capfd: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """explore_upkeep(examples, steps): let everybody act; tell what was done. On another lake by `settings_in`."""

    def run(
        examples: int, steps: int, settings_in: Callable[[Path], Settings] | None = None, *, rest: bool = False
    ) -> None:
        members = {"hide": staticmethod(hide), "catalog": RestCatalog if rest else SqlCatalog}
        if settings_in is not None:
            members["settings_in"] = staticmethod(settings_in)
        explore(type("Upkeep", (Everybody,), members), examples, steps, capfd)

    return run


def test_no_order_of_steps_loses_a_row_a_file_or_a_ref(explore_upkeep: Callable[..., None]) -> None:
    explore_upkeep(8, 20)


@pytest.mark.services
def test_no_order_of_steps_loses_a_row_a_file_or_a_ref_at_length(explore_upkeep: Callable[..., None]) -> None:
    explore_upkeep(200, 30)
    assert not {what for what in HAPPENED if not Everybody.done[what]}


@pytest.mark.services
@pytest.mark.parametrize(
    ("catalog", "storage"),
    [("postgres", "folder"), ("rest", "folder"), ("sqlite", "minio"), ("postgres", "versitygw"), ("rest", "minio")],
)
def test_nothing_is_lost_on_any_catalog_and_storage(
    explore_upkeep: Callable[..., None], place: Callable[[str, str], Settings], catalog: str, storage: str
) -> None:
    shared = place(catalog, storage)
    explore_upkeep(15, 20, lambda _folder: shared, rest=catalog == "rest")
