"""Other tables' folders are known without opening each table for each sweep, and never by what they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyiceberg.table import Table as IcebergTable

from lakehouse.errors import CommitError, StateError
from lakehouse.iceberg import Lake, LakeTable, Neighbours
from lakehouse.iceberg.catalogs.sql_catalog import SqlLakeCatalog
from lakehouse.settings import Settings
from lakehouse.storage import Store
from lakehouse.tables import Layer, Table, TableName


@pytest.fixture
def tables(lake: Lake, flat: Table) -> list[LakeTable]:
    """gold.t0 to gold.t3."""
    return [lake.create(replace(flat, name=TableName(Layer.GOLD, f"t{number}"))) for number in range(4)]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tables that are opened, in turn."""
    found: list[str] = []
    honest = SqlLakeCatalog.load_table

    def load(self: SqlLakeCatalog, identifier: tuple[str, ...]) -> IcebergTable:
        found.append(".".join(identifier))
        return honest(self, identifier)

    monkeypatch.setattr(SqlLakeCatalog, "load_table", load)
    return found


@pytest.fixture
def kept(settings: Settings) -> Path:
    return settings.state / "upkeep" / "places.json"


def _opened_by(opened: list[str], act: Callable[[], object], own: LakeTable) -> list[str]:
    opened.clear()
    act()
    return sorted({*opened} - {str(own.name)})


def test_in_a_night_each_table_is_opened_once_by_all_sweeps_together(
    tables: list[LakeTable], store: Store, opened: list[str], kept: Path
) -> None:
    first, second, third, _ = tables
    assert _opened_by(opened, lambda: first.sweep(store, Neighbours(kept)), first) == ["gold.t1", "gold.t2", "gold.t3"]
    assert _opened_by(opened, lambda: second.sweep(store, Neighbours(kept)), second) == []
    known = Neighbours()
    third.sweep(store, known)
    assert _opened_by(opened, lambda: second.sweep(store, known), second) == []
    assert _opened_by(opened, lambda: second.sweep(store), second) == ["gold.t0", "gold.t2", "gold.t3"]


def test_a_table_that_moved_into_the_folder_since_is_found_out(
    lake: Lake, tables: list[LakeTable], store: Store, opened: list[str], kept: Path
) -> None:
    first, second, *_ = tables
    known = Neighbours(kept)
    first.sweep(store, known)
    place = f"{store.root}/gold/t0/data"
    moved: IcebergTable = lake._catalog.load_table(second.name.key)  # noqa: SLF001  (what another program would do)
    with moved.transaction() as transaction:
        transaction.set_properties({"write.data.path": place})
    for neighbours in (known, Neighbours(kept), Neighbours()):
        with pytest.raises(CommitError, match=re.escape("shares a folder with gold.t1")):
            first.sweep(store, neighbours)
    # And that it shares is remembered as well.
    assert _opened_by(opened, lambda: _refused(first, store, Neighbours(kept)), first) == []


def _refused(table: LakeTable, store: Store, neighbours: Neighbours) -> None:
    with pytest.raises(CommitError, match="shares a folder"):
        table.sweep(store, neighbours)


def test_a_table_that_came_since_is_found_out(lake: Lake, tables: list[LakeTable], store: Store, kept: Path) -> None:
    first = tables[0]
    first.sweep(store, Neighbours(kept))
    plain: IcebergTable = lake._catalog.load_table(first.name.key)  # noqa: SLF001  (what another program would do)
    lake._catalog.create_table(("gold", "new"), schema=plain.schema(), location=f"{plain.location()}/inner")  # noqa: SLF001  (the same)
    with pytest.raises(CommitError, match=re.escape("shares a folder with gold.new")):
        first.sweep(store, Neighbours(kept))
    lake.drop(TableName(Layer.GOLD, "new"))
    first.sweep(store, Neighbours(kept))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', "\udcff"])
def test_a_file_that_says_nothing_is_as_good_as_none(
    tables: list[LakeTable], store: Store, opened: list[str], kept: Path, text: str
) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(text.encode(errors="surrogateescape"))
    first, second, *_ = tables
    assert len(_opened_by(opened, lambda: first.sweep(store, Neighbours(kept)), first)) == 3
    assert _opened_by(opened, lambda: second.sweep(store, Neighbours(kept)), second) == []


def test_a_file_that_cannot_be_written_is_no_trouble(tables: list[LakeTable], store: Store, kept: Path) -> None:
    kept.parent.parent.mkdir(exist_ok=True)
    kept.parent.write_text("in the way")
    tables[0].sweep(store, Neighbours(kept))


def test_a_table_that_cannot_be_opened_stops_the_sweep_unless_its_places_are_known(
    tables: list[LakeTable], settings: Settings, store: Store, kept: Path
) -> None:
    first, second, *_ = tables
    first.sweep(store, Neighbours(kept))
    for path in (Path(store.root) / "gold" / second.name.table / "metadata").iterdir():
        path.unlink()
    later = Lake.open(settings).table(first.name)
    later.sweep(store, Neighbours(kept))
    with pytest.raises(StateError, match=r"gold\.t1"):
        later.sweep(store, Neighbours())
