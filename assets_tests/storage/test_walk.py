"""Everything that lies in a store, and deleting it: what upkeep works with."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import SourceRefused, SourceUnreachable
from lakehouse.settings import S3, Settings
from lakehouse.storage import Deleted, FolderStore, Store
from lakehouse.storage.open import s3_client
from lakehouse.storage.s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILES = {
    "silver/orders/data/a.parquet": b"one",
    "silver/orders/data/.hidden/b.parquet": b"two",
    "silver/orders/metadata/.c.crc": b"3",
    "silver/orders_old/data/d e.parquet": b"",
    ".top": b"four",
}


def filled(store: Store) -> Store:
    for name, content in FILES.items():
        store.put(name, content)
    return store


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return filled(FolderStore(tmp_path / "warehouse"))
    return filled(S3Store(request.getfixturevalue("client"), f"s3://lake/{uuid.uuid4().hex}"))


@pytest.fixture
def real(s3_server: S3, bucket: str, settings: Settings) -> Store:
    """A real S3 server, with the files."""
    return filled(S3Store(s3_client(settings.model_copy(update={"s3": s3_server})), f"s3://{bucket}/warehouse"))


def walked(store: Store, prefix: str = "") -> dict[str, int]:
    found = [(seen.path, seen.size) for seen in store.walk(prefix)]
    assert len(found) == len(dict(found))
    return dict(found)


def sizes(prefix: str = "") -> dict[str, int]:
    return {name: len(content) for name, content in FILES.items() if name.startswith(prefix)}


@pytest.mark.parametrize("prefix", ["", "silver/orders/", "silver/orders", "silver/orders/data/a", "silver/none/", "."])
def test_everything_below_a_prefix_is_seen_hidden_names_too(store: Store, prefix: str) -> None:
    assert walked(store, prefix) == sizes(prefix)


def test_what_is_walked_has_the_time_and_version_of_a_listing(store: Store) -> None:
    listed = {seen.path: seen for seen in store.list()}
    assert {seen.path: seen for seen in store.walk() if seen.path in listed} == listed
    assert listed


def test_what_is_deleted_is_gone_and_the_rest_stays(store: Store) -> None:
    gone = {"silver/orders/data/a.parquet", ".top"}
    assert store.delete(iter(sorted(gone))) == Deleted(count=2)
    assert walked(store) == {name: size for name, size in sizes().items() if name not in gone}
    assert store.delete([]) == Deleted()


def test_what_is_not_there_is_no_error(store: Store) -> None:
    done = store.delete(["silver/none.parquet", ".top", ".top/below", "silver/nowhere/x"])
    assert (done.count + done.missing, done.failed) == (4, ())
    assert ".top" not in walked(store)


def test_several_requests_of_a_thousand(store: Store, tmp_path: Path) -> None:
    """2,500 objects are three requests; nothing beside them is touched."""
    names = [f"silver/many/data/{number:05d}.parquet" for number in range(2500)]
    if isinstance(store, FolderStore):
        many = tmp_path / "warehouse/silver/many/data"
        many.mkdir(parents=True)
        for name in names:
            (many / Path(name).name).touch()
    else:
        # To write so many would take a minute: the server is told to delete what is not there.
        for name in (names[0], names[999], names[1000], names[2499]):
            store.put(name, b"x")
    done = store.delete(names)
    assert (done.count + done.missing, done.failed) == (2500, ())
    assert walked(store) == sizes()


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "silver/../../secret"])
def test_nothing_outside_of_a_folder_is_deleted(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    store = filled(FolderStore(tmp_path / "warehouse"))
    with pytest.raises(SourceRefused, match="leads out"):
        store.delete([path])
    with pytest.raises(SourceRefused, match="leads out"):
        store.walk(path)
    assert (tmp_path / "secret").read_bytes() == b"x"


def test_folders_that_become_empty_go_and_the_root_stays(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    store = filled(FolderStore(root))
    (root / "silver/empty").mkdir()
    store.delete(["silver/orders/data/a.parquet"])
    assert (root / "silver/orders/data").is_dir()
    store.delete(["silver/orders/data/.hidden/b.parquet", "silver/orders/metadata/.c.crc"])
    assert sorted(path.name for path in (root / "silver").iterdir()) == ["empty", "orders_old"]
    store.delete([*FILES, "silver/empty/x"])
    assert list(root.iterdir()) == []


def test_links_are_neither_followed_nor_listed_nor_their_targets_deleted(tmp_path: Path) -> None:
    """A link in the warehouse may lead to files of somebody else."""
    root, elsewhere = tmp_path / "warehouse", tmp_path / "elsewhere"
    store = filled(FolderStore(root))
    elsewhere.mkdir()
    (elsewhere / "precious").write_bytes(b"x")
    (root / "silver/linked").symlink_to(elsewhere)
    (root / "silver/file").symlink_to(elsewhere / "precious")
    (root / "silver/circle").symlink_to(root)
    os.mkfifo(root / "pipe")
    assert walked(store) == sizes()
    store.delete(["silver/file"])
    assert (elsewhere / "precious").exists()


def test_a_root_that_is_a_link_is_a_root(tmp_path: Path) -> None:
    filled(FolderStore(tmp_path / "warehouse"))
    (tmp_path / "link").symlink_to(tmp_path / "warehouse")
    store = FolderStore(tmp_path / "link")
    assert walked(store) == sizes()
    assert store.delete(FILES) == Deleted(count=len(FILES))
    assert (tmp_path / "link").is_dir()


def test_what_goes_while_we_look_is_left_out(tmp_path: Path) -> None:
    """Another process deletes files and a whole folder between our looks."""
    root = tmp_path / "warehouse"
    store = filled(FolderStore(root))
    for number in range(300):
        store.put(f"gold/flat/{number:03d}/x", b"")
    looking = store.walk("gold/")
    first = next(looking).path
    for number in range(300):
        FolderStore(root).delete([f"gold/flat/{number:03d}/x"])
    assert {first, *(seen.path for seen in looking)} == {first}
    assert not (root / "gold").exists()


def test_of_many_files_those_that_stay_are_told_in_their_order(tmp_path: Path) -> None:
    """Many are deleted by several threads."""
    store = FolderStore(tmp_path)
    names = [f"many/{number:03d}" for number in range(300)]
    for name in names[::2]:
        store.put(name, b"x")
    kept = names[1:300:50]
    for name in kept:
        store.put(f"{name}/x", b"x")
    done = store.delete(names)
    assert (done.count, done.missing, done.failed) == (150, 144, tuple(kept))
    assert done.reason
    assert sorted(seen.path for seen in store.walk()) == [f"{name}/x" for name in kept]


def test_a_delete_that_the_disk_refuses_is_told_and_the_others_are_done(tmp_path: Path) -> None:
    store = filled(FolderStore(tmp_path / "warehouse"))
    done = store.delete([".top", "silver/orders", "silver/orders/data/a.parquet"])
    assert done == Deleted(count=2, failed=("silver/orders",))
    assert walked(store) == {name: size for name, size in sizes("silver/").items() if not name.endswith("a.parquet")}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_a_folder_that_may_not_be_read_or_changed_is_told(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    store = filled(FolderStore(root))
    (root / "silver/orders/data").chmod(0o500)
    assert store.delete(["silver/orders/data/a.parquet"]).failed == ("silver/orders/data/a.parquet",)
    (root / "silver/orders/data").chmod(0o000)
    try:
        with pytest.raises(SourceRefused, match="orders/data may not be read"):
            list(store.walk())
    finally:
        (root / "silver/orders/data").chmod(0o700)
    assert walked(store) == sizes()


def test_a_store_that_is_not_there_is_unreachable_and_an_empty_one_is_empty(client: S3Client, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="nowhere"):
        FolderStore(tmp_path / "nowhere").walk()
    nowhere = S3Store(client, "s3://nowhere/x")
    with pytest.raises(SourceUnreachable, match="NoSuchBucket"):
        list(nowhere.walk())
    with pytest.raises(SourceUnreachable, match="NoSuchBucket"):
        nowhere.delete(["x"])
    assert walked(FolderStore(tmp_path), "none/") == walked(S3Store(client, f"s3://lake/{uuid.uuid4().hex}")) == {}


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(names=st.sets(NAMES.filter(lambda name: name not in {".", ".."} and len(name.encode()) < 200), max_size=5))
def test_any_name_is_found_and_deleted(names: set[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = FolderStore(tmp_path_factory.mktemp("names"))
    for name in names:
        (Path(store.root) / name).write_bytes(b"x")
    assert set(walked(store)) == names
    assert store.delete(names) == Deleted(count=len(names))
    assert walked(store) == {}


def test_a_real_server_walks_and_deletes_alike(real: Store) -> None:
    assert walked(real) == sizes()
    assert walked(real, "silver/orders/") == sizes("silver/orders/")
    done = real.delete([".top", "silver/none", *(f"silver/many/{number}" for number in range(1200))])
    assert (done.count + done.missing, done.failed) == (1202, ())
    assert walked(real) == sizes("silver/")
    assert real.delete(sizes("silver/")).failed == ()
    assert walked(real) == {}
