"""Files as arrivals: each with the day that it belongs to, whenever it comes."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import FilesReader, open_source
from lakehouse.sources.arrivals import day_of
from lakehouse.tables import Table

CHANGED = datetime(2026, 3, 9, 23, 30, tzinfo=UTC)
Reader = Callable[[str], FilesReader]


@pytest.fixture
def reader(make_settings: Callable[..., Settings], make_table: Callable[..., Table]) -> Reader:
    def make(pattern: str) -> FilesReader:
        opened = open_source(make_settings(), make_table("landing", {"files": pattern}, {"id": "string"}))
        assert isinstance(opened, FilesReader)
        return opened

    return make


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("payments/2026-01-31.jsonl", "2026-01-31"),
        ("payments/20260131.jsonl", "2026-01-31"),
        ("payments/2026/01/31.jsonl", "2026-01-31"),
        ("payments/2026/01/31/part-0.jsonl", "2026-01-31"),
        ("payments_2026_01_31.csv.gz", "2026-01-31"),
        ("v2.2026.01.31.csv", "2026-01-31"),
        ("day=2024-02-29/part-00001.parquet", "2024-02-29"),
        ("p-20260131T235959Z.jsonl", "2026-01-31"),
        ("p-20260131235959.jsonl", "2026-01-31"),
        # The name is nearer to the rows than the folder that they were delivered in.
        ("2026/02/01/payments-2026-01-31.jsonl", "2026-01-31"),
        ("2026-01-31/rerun-20269999.jsonl", "2026-01-31"),
        ("2026/01/2026/01/31/x.jsonl", "2026-01-31"),
    ],
)
def test_a_file_belongs_to_the_last_date_of_its_path(path: str, day: str) -> None:
    assert day_of(path, CHANGED) == date.fromisoformat(day)


@pytest.mark.parametrize(
    "path",
    [
        "payments.jsonl",
        "2026-02-30.jsonl",
        "2026-13-01.jsonl",
        "2026-01.jsonl",
        "2026-0131.jsonl",
        "2026/01-31.jsonl",
        "00012026.jsonl",
        "order-120260131.jsonl",
        "order-202601311.jsonl",
        "12026-01-31.jsonl",
        "2026-01-311.jsonl",
    ],
)
def test_a_file_without_a_date_belongs_to_the_day_of_its_last_change(path: str) -> None:
    assert day_of(path, CHANGED) == date(2026, 3, 9)
    # The same moment on other clocks is the same day: days are UTC's.
    assert day_of(path, CHANGED.astimezone(timezone(timedelta(hours=14)))) == date(2026, 3, 9)


@given(
    day=st.dates(date(1900, 1, 1), date(2199, 12, 31)),
    form=st.sampled_from(["%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%Y_%m_%d", "%Y.%m.%d", "%Y%m%d%H%M%S"]),
    before=st.text("ab/-_.", max_size=8),
    after=st.text("T/-_.x", max_size=8),
    earlier=st.dates(date(1900, 1, 1), date(2199, 12, 31)),
)
def test_any_day_is_found_in_any_form(day: date, form: str, before: str, after: str, earlier: date) -> None:
    path = f"{earlier}/{before}{day.strftime(form)}{after}"
    assert day_of(path, CHANGED) == day


def test_what_is_there_is_told_by_path_with_size_version_and_day(landing: Path, reader: Reader) -> None:
    for name, content in {
        "p/b-20260102.jsonl": "{}",
        "p/a.jsonl": "",
        "p/.hidden.jsonl": "x",
        "q/c.jsonl": "x",
    }.items():
        file = landing / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        os.utime(file, ns=(1, int(CHANGED.timestamp()) * 10**9 + 7))
    found = reader("p/*.jsonl").arrivals()
    version = int(CHANGED.timestamp()) * 10**9 + 7
    assert [(one.path, one.size, one.version, one.day) for one in found] == [
        ("p/a.jsonl", 0, version, date(2026, 3, 9)),
        ("p/b-20260102.jsonl", 2, version, date(2026, 1, 2)),
    ]
    assert found[0].modified == CHANGED


def test_a_replaced_file_keeps_its_day_and_changes_its_version(landing: Path, reader: Reader) -> None:
    file = landing / "2026-01-02.jsonl"
    file.write_text("{}")
    os.utime(file, ns=(1, 1))
    (before,) = reader("*.jsonl").arrivals()
    file.write_text('{"id": "1"}')
    (after,) = reader("*.jsonl").arrivals()
    assert (before.day, after.day) == (date(2026, 1, 2), date(2026, 1, 2))
    assert (before.size, before.version) != (after.size, after.version)


def test_a_missing_folder_is_unreachable(landing: Path, reader: Reader) -> None:
    opened = reader("*.jsonl")
    landing.rmdir()
    with pytest.raises(SourceUnreachable, match="landing"):
        opened.arrivals()
