"""What upkeep says while it works, and within which bounds its DuckDB works."""

from __future__ import annotations

import os

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import StateError
from lakehouse.iceberg import CompactionStep, Phase
from lakehouse.settings import Settings
from lakehouse.settings import Upkeep as UpkeepSettings
from lakehouse.tables import TableName
from lakehouse.upkeep import size, span
from lakehouse.upkeep.engine import engine
from lakehouse.upkeep.told import CompactionPace, NowAndThen, counted

ORDERS = TableName.parse("silver.orders")


def steps(groups: int) -> list[CompactionStep]:
    """What a compaction of so many groups of 1 MB tells, in its order."""
    return [
        CompactionStep(ORDERS, phase, group, groups, ("f",), rows=10, bytes=1_000_000)
        for group in range(1, groups + 1)
        for phase in (Phase.WRITTEN, Phase.PROVED)
    ] + [
        CompactionStep(ORDERS, Phase.COMMITTED, group, groups, ("f",), 10, 1_000_000) for group in range(1, groups + 1)
    ]


def test_each_proved_group_is_told_with_what_is_left() -> None:
    said: list[str] = []
    pace = CompactionPace(said.append, 3_000_000, every_s=0)
    for step in steps(3):
        pace(step)
    assert len(said) == 3
    assert said[0].startswith("silver.orders: 1 of 3 groups rewritten and proved, 1.0 MB of 3.0 MB, about ")
    assert said[0].endswith(" left")
    assert said[-1] == "silver.orders: 3 of 3 groups rewritten and proved, 3.0 MB of 3.0 MB"


def test_thousands_of_groups_are_not_thousands_of_lines() -> None:
    said: list[str] = []
    pace = CompactionPace(said.append, 5_000_000_000, every_s=3600)
    for step in steps(5000):
        pace(step)
    assert said == ["silver.orders: 5,000 of 5,000 groups rewritten and proved, 5.0 GB of 5.0 GB"]


def test_a_line_now_and_then() -> None:
    said: list[str] = []
    often, seldom = NowAndThen(said.append, every_s=0), NowAndThen(said.append, every_s=3600)
    for line in ("a", "b"):
        often(line)
        seldom(line)
    assert said == ["a", "b"]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (128 * 2**20, "134.2 MB"), (10**18, "1,000.0 PB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (9000, "2.5 h")])
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


@given(st.integers(0, 10**20))
def test_a_size_tells_at_most_four_digits_before_its_unit(count: int) -> None:
    number, unit = size(count).split(" ")
    assert unit in {"B", "kB", "MB", "GB", "TB", "PB"}
    assert unit == "PB" or float(number.replace(",", "")) <= 1000


def test_one_thing_is_not_many() -> None:
    assert [counted(number, "file") for number in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]


@pytest.mark.parametrize("megabytes", [100, 300, 10_000])
def test_the_engine_keeps_to_its_memory_and_folder(settings: Settings, megabytes: int) -> None:
    chosen = settings.model_copy(update={"upkeep": UpkeepSettings(memory_mb=megabytes)})

    def set_to(duck: duckdb.DuckDBPyConnection, name: str) -> object:
        return duck.execute(f"SELECT current_setting('{name}')").fetchall()[0][0]

    with engine(chosen) as first, engine(chosen) as second:
        folders = [str(set_to(duck, "temp_directory")) for duck in (first, second)]
        assert all(folder.startswith(f"{settings.state}/upkeep/") for folder in folders)
        assert folders[0] != folders[1]
        assert set_to(first, "threads") == max(1, min(os.cpu_count() or 1, megabytes // 250))
        mebibytes = megabytes * 10**6 / 2**20
        number, unit = str(set_to(first, "memory_limit")).split(" ")
        assert float(number) * {"MiB": 1, "GiB": 1024}[unit] == pytest.approx(mebibytes, rel=0.02)
    assert list((settings.state / "upkeep").iterdir()) == []


def test_what_is_too_much_for_memory_is_spilled(settings: Settings) -> None:
    chosen = settings.model_copy(update={"upkeep": UpkeepSettings(memory_mb=100)})
    with engine(chosen) as duck:
        # 130 MB of keys, to be sorted.
        sql = "SELECT count(*) FROM (SELECT hash(i) h, i FROM range(8_000_000) t(i) ORDER BY h OFFSET 1)"
        assert duck.execute(sql).fetchall() == [(7_999_999,)]


def test_a_state_folder_that_cannot_be_written_to_is_said(settings: Settings) -> None:
    (settings.state / "upkeep").write_text("a file in its place", encoding="utf-8")
    with pytest.raises(StateError, match="upkeep"), engine(settings):
        pytest.fail("it must not be opened")
