"""Files that somebody may still be writing are not picked up: they settle first, or a marker speaks for them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from assets_tests.sources.landed import chunks_of, rows_of, write
from lakehouse.errors import ContractError
from lakehouse.sources import FilesReader, SourceReader
from lakehouse.tables import Position

Reader = Callable[..., SourceReader]


def aged(file: Path, seconds: float) -> None:
    changed = time.time() - seconds
    os.utime(file, (changed, changed))


def names(reader: SourceReader, since: Position | None = None) -> list[str]:
    extract = reader.read(since)
    return [] if extract is None else [source.rpartition(":")[0] for source, _ in rows_of(chunks_of(extract))]


def test_a_file_that_changed_a_moment_ago_waits_until_it_has_settled(landing: Path, reader: Reader) -> None:
    for name, age in (("old", 61), ("young", 30), ("ahead", -30)):
        aged(write(landing, f"{name}.jsonl", "{}"), age)
    opened = reader("*.jsonl", settle=60)
    assert isinstance(opened, FilesReader)
    assert [one.path for one in opened.arrivals()] == ["old.jsonl"]
    assert names(opened) == ["old.jsonl"]
    first = opened.read(None)
    assert first is not None
    assert not opened.pending(first.reached)
    aged(landing / "young.jsonl", 61)
    assert opened.pending(first.reached)
    assert names(opened, first.reached) == ["young.jsonl"]


def test_a_time_that_never_comes_holds_no_file_back(landing: Path, reader: Reader) -> None:
    aged(write(landing, "a.jsonl", "{}"), -400 * 86400)
    assert names(reader("*.jsonl", settle=60)) == ["a.jsonl"]


def test_a_load_waits_for_a_file_that_is_about_to_settle(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", "{}")
    began = time.monotonic()
    assert not reader("*.jsonl", settle=0.5).pending(None)
    assert names(reader("*.jsonl", settle=0.5)) == ["a.jsonl"]
    assert time.monotonic() - began < 2


def test_a_file_that_changes_again_keeps_what_is_known_of_it(landing: Path, reader: Reader) -> None:
    aged(write(landing, "a.jsonl", '{"payment_id": "P1"}\n'), 100)
    aged(write(landing, "b.jsonl", "{}"), 100)
    first = reader("*.jsonl", settle=60).read(None)
    assert first is not None
    write(landing, "a.jsonl", '{"payment_id": "half')
    aged(write(landing, "c.jsonl", "{}"), 100)
    second = reader("*.jsonl", settle=60).read(first.reached)
    assert second is not None
    assert [source for source, _ in rows_of(chunks_of(second))] == ["c.jsonl:1"]
    assert second.reached["files"]["a.jsonl"] == first.reached["files"]["a.jsonl"]  # type: ignore[index]  # by path


def test_a_marker_beside_each_file(landing: Path, reader: Reader) -> None:
    for name in ("p/a.jsonl", "p/a.jsonl.done", "p/b.jsonl", "p/.c.jsonl.done", "p/c.jsonl"):
        write(landing, name, "{}")
    opened = reader("p/*", marker="{path}.done")
    assert names(opened) == ["p/a.jsonl"]
    write(landing, "p/b.jsonl.done", "")
    first = opened.read(None)
    assert names(opened) == ["p/a.jsonl", "p/b.jsonl"]
    # What is written again waits for a marker that is not older.
    time.sleep(0.02)
    write(landing, "p/a.jsonl", '{"payment_id": "half')
    assert first is not None
    assert not opened.pending(first.reached)
    write(landing, "p/a.jsonl.done", "")
    assert names(opened, first.reached) == []
    assert opened.pending(first.reached)


def test_a_marker_for_a_folder(landing: Path, reader: Reader) -> None:
    for name in ("2026-01-01/a.jsonl", "2026-01-01/b.jsonl", "2026-01-01/_SUCCESS", "2026-01-02/a.jsonl"):
        write(landing, name, "{}")
    assert names(reader("2026-*/*", marker="_SUCCESS")) == ["2026-01-01/a.jsonl", "2026-01-01/b.jsonl"]
    assert names(reader("2026-01-02/a*.jsonl", marker="_SUCCESS")) == []
    assert names(reader("2026-01-01/a*.jsonl", marker="_SUCCESS")) == ["2026-01-01/a.jsonl"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"marker": ".done"}, "'marker'.*suffix"),
        ({"marker": "sub/_SUCCESS"}, "'marker'"),
        ({"settle": -1}, "'settle'.*from 0 on"),
        ({"settle": "soon"}, "'settle'.*found 'soon'"),
        ({"settle": True}, "'settle'"),
        ({"ignore": "name"}, "'ignore'.*a list of names"),
        ({"encoding": "utf-16"}, "'encoding'.*ASCII"),
        ({"encoding": "klingon"}, "'encoding'"),
    ],
)
def test_wrong_options_are_named(reader: Reader, options: dict[str, object], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        reader("*.jsonl", **options)
