"""Files in a landing folder: which are read, what their records become, and that nothing in them is dropped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from assets_tests.sources.landed import PAYMENT, chunks_of, rows_of, write
from lakehouse.errors import ContractError, SettingsError, SourceChanged, SourceError, SourceUnreachable
from lakehouse.settings import Settings
from lakehouse.sources import SourceReader, open_source
from lakehouse.tables import Table

Reader = Callable[..., SourceReader]


def test_new_and_changed_files_are_read_in_order_of_name_and_known_ones_not(landing: Path, reader: Reader) -> None:
    for name in ("b", "a", "c"):
        write(landing, f"{name}.jsonl", json.dumps({"payment_id": name}))
    first = reader("*.jsonl").read(None)
    assert [source for source, _ in rows_of(chunks_of(first))] == ["a.jsonl:1", "b.jsonl:1", "c.jsonl:1"]
    assert first is not None
    assert reader("*.jsonl").read(first.reached) is None

    write(landing, "b.jsonl", '{"payment_id": "b, replaced"}')
    write(landing, "0.jsonl", '{"payment_id": "late"}')
    (landing / "c.jsonl").unlink()
    second = reader("*.jsonl").read(first.reached)
    assert [row["payment_id"] for _, row in rows_of(chunks_of(second))] == ["late", "b, replaced"]
    assert second is not None
    assert set(second.reached["files"]) == {"0.jsonl", "a.jsonl", "b.jsonl", "c.jsonl"}  # type: ignore[call-overload]


def test_a_file_replaced_by_one_of_the_same_size_is_noticed_by_its_time(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", '{"payment_id": "P1"}')
    first = reader("a.jsonl").read(None)
    assert first is not None
    write(landing, "a.jsonl", '{"payment_id": "P2"}')
    os.utime(file, ns=(1, 1))
    assert [row["payment_id"] for _, row in rows_of(chunks_of(reader("a.jsonl").read(first.reached)))] == ["P2"]


def test_a_file_replaced_between_listing_and_reading_fails_the_load(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", '{"payment_id": "P1"}')
    extract = reader("a.jsonl").read(None)
    file.write_text('{"payment_id": "P2"}')
    os.utime(file, ns=(1, 1))
    with pytest.raises(SourceChanged, match="changed after it was listed"):
        chunks_of(extract)


def test_positions_survive_json(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", "{}")
    first = reader("*.jsonl").read(None)
    assert first is not None
    assert reader("*.jsonl").read(json.loads(json.dumps(first.reached))) is None


def test_hidden_names_folders_and_other_patterns_are_not_looked_at(landing: Path, reader: Reader) -> None:
    for name in (".a.jsonl", ".tmp/a.jsonl", "sub/a.jsonl", "a.csv"):
        write(landing, name, "{}")
    (landing / "folder.jsonl").mkdir()
    assert reader("*.jsonl").read(None) is None
    assert [source for source, _ in rows_of(chunks_of(reader("**/*.jsonl").read(None)))] == ["sub/a.jsonl:1"]


def test_columns_are_sampled_from_the_last_file(landing: Path, reader: Reader) -> None:
    write(landing, "a.jsonl", '{"old": 1}')
    write(landing, "b.jsonl", '{"payment_id": "P1", "amount": 1}\n{"more": 1}')
    found = reader("*.jsonl").columns()
    assert [(column.name, column.type) for column in found] == [
        ("payment_id", "JSON"),
        ("amount", "JSON"),
        ("more", "JSON"),
    ]


def test_columns_without_any_file(reader: Reader) -> None:
    with pytest.raises(SourceChanged, match=r"no file below .* matches '\*\.jsonl'"):
        reader("*.jsonl").columns()


def test_a_missing_folder_is_unreachable(landing: Path, reader: Reader) -> None:
    opened = reader("*.jsonl")
    landing.rmdir()
    with pytest.raises(SourceUnreachable, match="landing"):
        opened.read(None)


def test_a_position_of_another_source_is_refused(reader: Reader) -> None:
    with pytest.raises(SourceError, match="not one of files"):
        reader("*.jsonl").read({"watermark": "2026-01-01"})


@pytest.mark.parametrize(
    ("pattern", "options", "said"),
    [
        ("/etc/*", {}, "'files'.*below the source's root"),
        ("../*.jsonl", {}, "'files'.*below the source's root"),
        ("*.jsonl", {"format": "xml"}, "'format'.*jsonl, csv or parquet"),
        ("", {}, "'files'"),
        ("*.jsonl", {"patern": "x"}, "'patern'"),
    ],
)
def test_wrong_options_are_named(reader: Reader, pattern: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        reader(pattern, **options)


def test_an_unknown_format_is_named(landing: Path, reader: Reader) -> None:
    write(landing, "a.xml", "<a/>")
    with pytest.raises(ContractError, match=r"found a\.xml"):
        chunks_of(reader("*").read(None))


def test_another_kind_of_place_is_refused(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    elsewhere = make_settings(cloud={"kind": "files", "root": "gs://bucket/landing"})
    with pytest.raises(SettingsError, match=r"gs://bucket/landing"):
        open_source(elsewhere, make_table("cloud", {"files": "*.jsonl"}, PAYMENT))


def test_a_root_may_be_absolute_or_an_address(
    make_settings: Callable[..., Settings], make_table: Callable[..., Table], tmp_path: Path
) -> None:
    write(tmp_path, "a b/x.jsonl", "{}")
    for root in (str(tmp_path / "a b"), (tmp_path / "a b").as_uri()):
        opened = open_source(
            make_settings(there={"kind": "files", "root": root}), make_table("there", {"files": "*.jsonl"}, PAYMENT)
        )
        assert [source for source, _ in rows_of(chunks_of(opened.read(None)))] == ["x.jsonl:1"]


def test_positions_of_loads_long_ago_are_understood(landing: Path, reader: Reader) -> None:
    file = write(landing, "a.jsonl", "{}")
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    assert reader("*.jsonl").read({"files": {"a.jsonl": [2, 1_700_000_000_123_456_789]}}) is None


def test_parts_of_a_pattern_stand_for_one_name_each(landing: Path, reader: Reader) -> None:
    for name in ("a/2026/x.jsonl", "a/2027/x.jsonl", "a/2026/deep/x.jsonl", "b/2026/x.jsonl", "a/x.jsonl"):
        write(landing, name, "{}")
    found = {
        pattern: [source.removesuffix(":1") for source, _ in rows_of(chunks_of(reader(pattern).read(None)))]
        for pattern in ("a/*/*.jsonl", "./a//2026/x.jsonl", "a/**/x.jsonl", "[ab]/202?/x.jsonl", "**/2026/*")
    }
    assert found == {
        "a/*/*.jsonl": ["a/2026/x.jsonl", "a/2027/x.jsonl"],
        "./a//2026/x.jsonl": ["a/2026/x.jsonl"],
        "a/**/x.jsonl": ["a/2026/deep/x.jsonl", "a/2026/x.jsonl", "a/2027/x.jsonl", "a/x.jsonl"],
        "[ab]/202?/x.jsonl": ["a/2026/x.jsonl", "a/2027/x.jsonl", "b/2026/x.jsonl"],
        "**/2026/*": ["a/2026/x.jsonl", "b/2026/x.jsonl"],
    }
