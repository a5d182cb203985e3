"""Listing, reading and writing, the same in a folder and on S3 (a server on loopback that speaks its protocol)."""

from __future__ import annotations

import hashlib
import os
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakehouse.errors import SourceChanged, SourceRefused, SourceUnreachable, StateError
from lakehouse.storage import FolderStore, Store
from lakehouse.storage.s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILES = {"payments/a.jsonl": b"one\n", "payments/2026/b c.jsonl": b"two\nthree\n", "rates.csv": b""}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture
def landing(client: S3Client) -> str:
    """A prefix of its own with the files in it."""
    prefix = f"landing-{uuid.uuid4().hex[:8]}"
    for name, content in FILES.items():
        client.put_object(Bucket="lake", Key=f"{prefix}/{name}", Body=content)
    return f"s3a://lake/{prefix}/"


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "folder":
        return FolderStore(request.getfixturevalue("folder"))
    return S3Store(request.getfixturevalue("client"), request.getfixturevalue("landing"))


def paths(store: Store, prefix: str = "", *, deep: bool = True) -> list[str]:
    return [seen.path for seen in store.list(prefix, deep=deep)]


def test_every_object_is_listed_by_path_with_its_size(store: Store) -> None:
    assert [(seen.path, seen.size) for seen in store.list()] == sorted(
        (name, len(content)) for name, content in FILES.items()
    )
    assert all(seen.modified.utcoffset() is not None for seen in store.list())


def test_a_prefix_is_letters_and_not_a_folder(store: Store) -> None:
    assert paths(store, "payments/a") == ["payments/a.jsonl"]
    assert paths(store, "pay") == ["payments/2026/b c.jsonl", "payments/a.jsonl"]
    assert paths(store, "none") == paths(store, "none/x") == paths(store, "rates.csv/x") == []


def test_a_listing_that_is_not_deep_leaves_what_lies_below(store: Store) -> None:
    assert paths(store, deep=False) == ["rates.csv"]
    assert paths(store, "payments/", deep=False) == ["payments/a.jsonl"]


def test_an_object_is_read_whole(store: Store) -> None:
    digests = {}
    for name in FILES:
        with store.open(name) as stream:
            digests[name] = hashlib.sha256(stream.read()).digest()
    assert digests == {name: hashlib.sha256(content).digest() for name, content in FILES.items()}


def test_reading_begins_anywhere(store: Store) -> None:
    with store.open("payments/2026/b c.jsonl") as stream:
        assert (stream.seek(-6, os.SEEK_END), stream.read(3), stream.tell()) == (4, b"thr", 7)
        assert (stream.seek(1), stream.readline(), stream.readline()) == (1, b"wo\n", b"three\n")
        assert (stream.read(), stream.seek(100), stream.read()) == (b"", 100, b"")


def test_an_object_that_is_gone_is_told(store: Store) -> None:
    with pytest.raises(SourceChanged, match=r"gone\.jsonl"):
        store.open("gone.jsonl")


def test_what_is_put_is_there_under_its_name_and_nothing_beside_it(store: Store) -> None:
    before = paths(store)
    store.put("new/x.jsonl", b"first")
    store.put("new/x.jsonl", b"second\n")
    assert sorted(paths(store)) == sorted([*before, "new/x.jsonl"])
    with store.open("new/x.jsonl") as stream:
        assert stream.read() == b"second\n"


def test_a_version_changes_with_the_content_and_only_then(store: Store) -> None:
    store.put("x", b"1")
    [first], [again] = store.list("x"), store.list("x")
    store.put("x", b"2")
    [second] = store.list("x")
    assert first.version == again.version != second.version
    assert second.modified <= datetime.now(UTC)


def test_hidden_names_are_not_listed(store: Store) -> None:
    before = paths(store)
    for name in (".partial", ".tmp/x", "payments/.tmp/x", "payments/.x"):
        store.put(name, b"x")
    assert paths(store) == before
    assert paths(store, ".tmp/") == []


def test_many_objects_are_listed_by_pages(client: S3Client) -> None:
    """A page is a thousand objects; here the server is asked for three at a time, and says that there are more."""
    asked: list[dict[str, object]] = []

    def three(params: dict[str, object], **_event: object) -> None:
        asked.append(params)
        params["MaxKeys"] = 3

    client.meta.events.register("before-parameter-build.s3.ListObjectsV2", three)
    store = S3Store(client, f"s3://lake/{uuid.uuid4().hex}")
    for number in range(7):
        store.put(f"{number}", b"")
    assert paths(store) == [f"{number}" for number in range(7)]
    assert len(asked) == 3


def test_keys_that_stand_for_folders_are_not_objects(client: S3Client, landing: str) -> None:
    store = S3Store(client, landing)
    prefix = store.root.removeprefix("s3://lake/")
    for key in (f"{prefix}/", f"{prefix}/folder/", f"{prefix}-beside/x"):
        client.put_object(Bucket="lake", Key=key, Body=b"")
    assert paths(store) == sorted(FILES)


def test_a_large_object_is_read_in_blocks_of_one_version(client: S3Client, landing: str) -> None:
    store = S3Store(client, landing)
    content = os.urandom(1024 * 1024) * 20
    store.put("large", content)
    with store.open("large") as stream:
        assert stream.read() == content
    with store.open("large") as stream:
        assert stream.read(1024) == content[:1024]
        store.put("large", bytes(len(content)))
        with pytest.raises(SourceChanged, match="was replaced while it was read"):
            stream.read()


def test_a_missing_folder_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="nowhere"):
        list(FolderStore(tmp_path / "nowhere").list())


def test_a_missing_bucket_is_unreachable_and_a_missing_prefix_is_empty(client: S3Client) -> None:
    with pytest.raises(SourceUnreachable, match="NoSuchBucket"):
        list(S3Store(client, "s3://nowhere/x").list())
    assert list(S3Store(client, "s3://lake/nothing-here").list()) == []


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "payments/../../secret"])
def test_no_path_leads_out_of_the_folder(folder: Path, path: str) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    with pytest.raises(SourceRefused, match="leads out"):
        FolderStore(folder).open(path)
    with pytest.raises(SourceRefused, match="leads out"):
        FolderStore(folder).put(path, b"x")


def test_links_are_followed_and_circles_end(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "x.csv").write_bytes(b"x")
    (folder / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert "linked/x.csv" in paths(FolderStore(folder))
    with FolderStore(folder).open("linked/x.csv") as stream:
        assert stream.read() == b"x"


def test_what_is_no_file_is_not_listed(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert paths(FolderStore(folder)) == sorted(FILES)


def test_a_folder_that_takes_no_file_is_told(folder: Path) -> None:
    with pytest.raises(StateError, match="cannot be written to"):
        FolderStore(folder).put("rates.csv/x", b"x")
