"""Files in a bucket: read as those in a folder are, in blocks, and known again by their ETags."""

from __future__ import annotations

import gzip
import json
import os
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import parquet

from lakehouse.errors import SourceChanged, SourceUnreachable
from lakehouse.settings import S3, Settings
from lakehouse.sources import Chunk, Extract, FilesReader, SourceReader, open_source
from lakehouse.storage.open import s3_client
from lakehouse.storage.s3 import S3Store
from lakehouse.tables import Table

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3 import S3Client

COLUMNS = {"payment_id": "string", "amount": "decimal(10, 2)"}
Reader = Callable[..., SourceReader]


@pytest.fixture
def on_s3(make_settings: Callable[..., Settings], s3: S3) -> Settings:
    """Settings whose landing place is a prefix of its own."""
    root = f"s3://lake/{uuid.uuid4().hex}/landing"
    return make_settings(landing={"kind": "files", "root": root}).model_copy(update={"s3": s3})


@pytest.fixture
def client(on_s3: Settings) -> Iterator[S3Client]:
    made = s3_client(on_s3)
    yield made
    made.close()


@pytest.fixture
def landing(on_s3: Settings, client: S3Client) -> S3Store:
    return S3Store(client, on_s3.sources["landing"].root)  # type: ignore[union-attr]  # it is files


@pytest.fixture
def reader(on_s3: Settings, client: S3Client, make_table: Callable[..., Table]) -> Reader:
    def make(pattern: str, **options: object) -> SourceReader:
        return open_source(on_s3, make_table("landing", {"files": pattern, **options}, COLUMNS), s3=client)

    return make


def read(extract: Extract | None) -> list[Chunk]:
    assert extract is not None
    return list(extract.chunks)


def ids(chunks: list[Chunk]) -> dict[str, object]:
    """The payment of each row, by coordinate."""
    return {
        chunk.coordinate(place): row["payment_id"]
        for chunk in chunks
        for place, row in enumerate(chunk.rows.to_pylist())
    }


def test_every_format_is_read_with_coordinates(landing: S3Store, reader: Reader, tmp_path: Path) -> None:
    parquet.write_table(pa.table({"payment_id": ["P4", "P5"]}), tmp_path / "x.parquet")
    written = (tmp_path / "x.parquet").read_bytes()
    for name, content in {
        "a.jsonl": b'{"payment_id": "P1"}\nbroken\n',
        "b.csv.gz": gzip.compress(b"payment_id,amount\nP2,1\n"),
        "c.jsonl.gz": gzip.compress(b'{"payment_id": "P3"}'),
        "d.parquet": written,
        "e.parquet.gz": gzip.compress(written),
        "f.jsonl": b"",
    }.items():
        landing.put(f"payments/{name}", content)
    chunks = read(reader("payments/*").read(None))
    assert ids(chunks) == {
        "payments/a.jsonl:1": "P1",
        "payments/b.csv.gz:2": "P2",
        "payments/c.jsonl.gz:1": "P3",
        "payments/d.parquet:1": "P4",
        "payments/d.parquet:2": "P5",
        "payments/e.parquet.gz:1": "P4",
        "payments/e.parquet.gz:2": "P5",
    }
    assert [record.source for chunk in chunks for record in chunk.broken] == ["payments/a.jsonl:2"]


def test_new_and_changed_objects_are_read_and_known_ones_not(landing: S3Store, reader: Reader) -> None:
    for name in ("b", "a"):
        landing.put(f"{name}.jsonl", json.dumps({"payment_id": name}).encode())
    first = reader("*.jsonl").read(None)
    assert list(ids(read(first)).values()) == ["a", "b"]
    assert first is not None
    stored = json.loads(json.dumps(first.reached))
    assert reader("*.jsonl").read(stored) is None

    # The same bytes again are no news; others of the same size are.
    landing.put("a.jsonl", json.dumps({"payment_id": "a"}).encode())
    assert reader("*.jsonl").read(stored) is None
    landing.put("a.jsonl", json.dumps({"payment_id": "A"}).encode())
    landing.put("0.jsonl", json.dumps({"payment_id": "late"}).encode())
    second = reader("*.jsonl").read(stored)
    assert list(ids(read(second)).values()) == ["late", "A"]
    assert second is not None
    assert set(second.reached["files"]) == {"0.jsonl", "a.jsonl", "b.jsonl"}  # type: ignore[call-overload]


def test_an_object_replaced_while_it_is_read_fails_the_load(landing: S3Store, reader: Reader) -> None:
    line = json.dumps({"payment_id": "P" * 1000}).encode() + b"\n"
    landing.put("large.jsonl", line * 40_000)
    extract = reader("*.jsonl").read(None)
    assert extract is not None
    chunks = iter(extract.chunks)
    assert next(chunks).rows.num_rows > 0
    landing.put("large.jsonl", line * 40_001)
    with pytest.raises(SourceChanged, match="was replaced while it was read"):
        list(chunks)


def test_an_object_replaced_before_it_is_read_fails_the_load(landing: S3Store, reader: Reader) -> None:
    landing.put("a.jsonl", b'{"payment_id": "1"}')
    extract = reader("*.jsonl").read(None)
    landing.put("a.jsonl", b'{"payment_id": "2"}')
    with pytest.raises(SourceChanged, match="Load again"):
        read(extract)


def test_an_object_that_goes_before_it_is_read_fails_the_load(
    landing: S3Store, reader: Reader, client: S3Client
) -> None:
    landing.put("a.jsonl", b"{}")
    extract = reader("*.jsonl").read(None)
    bucket, _, prefix = landing.root.removeprefix("s3://").partition("/")
    client.delete_object(Bucket=bucket, Key=f"{prefix}/a.jsonl")
    with pytest.raises(SourceChanged, match="is not there any more"):
        read(extract)


@pytest.mark.parametrize("name", ["m.parquet", "m.jsonl.gz", "m.parquet.gz"])
def test_an_unreadable_object_is_one_broken_record(landing: S3Store, reader: Reader, name: str) -> None:
    content = os.urandom(5000)
    landing.put(name, content)
    landing.put("z.jsonl", b'{"payment_id": "P"}')
    chunks = read(reader("*").read(None))
    (broken,) = [record for chunk in chunks for record in chunk.broken]
    assert (broken.source, broken.payload) == (name, content[:4096])
    assert ids(chunks) == {"z.jsonl:1": "P"}


def test_only_what_fits_the_pattern_is_looked_at(landing: S3Store, reader: Reader) -> None:
    for name in ("a.jsonl", "sub/b.jsonl", "sub/deep/c.jsonl", ".hidden/d.jsonl", "sub/.e.jsonl", "a.csv", "f.jsonl/"):
        landing.put(name, b"{}")
    assert list(ids(read(reader("*.jsonl").read(None)))) == ["a.jsonl:1"]
    assert list(ids(read(reader("sub/*.jsonl").read(None)))) == ["sub/b.jsonl:1"]
    assert set(ids(read(reader("**/*.jsonl").read(None)))) == {"a.jsonl:1", "sub/b.jsonl:1", "sub/deep/c.jsonl:1"}


def test_nothing_delivered_yet_is_no_error_but_a_missing_bucket_is(
    on_s3: Settings, reader: Reader, make_settings: Callable[..., Settings], make_table: Callable[..., Table]
) -> None:
    assert reader("*.jsonl").read(None) is None
    with pytest.raises(SourceChanged, match=r"no file below s3://lake/.* matches"):
        reader("*.jsonl").columns()
    wrong = make_settings(landing={"kind": "files", "root": "s3://no-such-bucket/x"})
    table = make_table("landing", {"files": "*.jsonl"}, COLUMNS)
    with pytest.raises(SourceUnreachable, match="NoSuchBucket"):
        open_source(wrong.model_copy(update={"s3": on_s3.s3}), table).read(None)


def test_objects_are_pending_and_arrive_with_their_days(landing: S3Store, reader: Reader) -> None:
    opened = reader("p/*.jsonl")
    assert isinstance(opened, FilesReader)
    assert (opened.pending(None), opened.arrivals()) == (False, [])
    landing.put("p/2026-01-02.jsonl", b"{}")
    landing.put("p/other.jsonl", b"{}")
    first = opened.read(None)
    assert first is not None
    assert (opened.pending(None), opened.pending(first.reached)) == (True, False)
    dated, other = opened.arrivals()
    assert (dated.path, dated.size, dated.day) == ("p/2026-01-02.jsonl", 2, date(2026, 1, 2))
    assert (other.path, other.day) == ("p/other.jsonl", other.modified.date())
    landing.put("p/2026-01-02.jsonl", b"[]")
    replaced, _ = opened.arrivals()
    assert opened.pending(first.reached)
    assert (replaced.day, replaced.version == dated.version) == (date(2026, 1, 2), False)


def test_columns_are_sampled(landing: S3Store, reader: Reader) -> None:
    landing.put("a.csv", b"id,name\n1,x\n")
    assert [column.name for column in reader("*.csv").columns()] == ["id", "name"]
