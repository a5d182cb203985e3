"""Listing and reading, the same on a folder and on S3 (a server on loopback that speaks its protocol)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.config import Config

from lakehouse.errors import SourceChanged, SourceRefused, SourceUnreachable
from lakehouse.storage import FolderStore, S3Store, Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FILES = {"payments/a.jsonl": b"one\n", "payments/2026/b c.jsonl": b"two\nthree\n", "rates.csv": b""}


class _Bucket(BaseHTTPRequestHandler):
    """GET of a listing (two keys a page) and of an object, from `FILES` below `landing/`."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        key = unquote(url.path).removeprefix("/lake").removeprefix("/")
        if url.path.startswith("/forbidden"):
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "list-type" in asked:
            self._answer(200, self._listing(asked.get("prefix", ""), int(asked.get("continuation-token", "0"))))
        elif key.removeprefix("landing/") in FILES:
            self._answer(200, FILES[key.removeprefix("landing/")])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _listing(self, prefix: str, start: int) -> bytes:
        keys = [key for key in sorted(f"landing/{name}" for name in [*FILES, "folder/"]) if key.startswith(prefix)]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{key}&quot;</ETag><Size>{len(FILES.get(key.removeprefix('landing/'), b''))}</Size></Contents>"
            for key in keys[start : start + 2]
        )
        more = start + 2 < len(keys)
        token = f"<NextContinuationToken>{start + 2}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return f"<ListBucketResult>{truncated}{token}{entries}</ListBucketResult>".encode()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class' name)
        """Quiet."""


@pytest.fixture(scope="module")
def client() -> Iterator[S3Client]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Bucket)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    made = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",  # noqa: S106  (the server on loopback asks for none)
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    yield made
    made.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, folder: Path) -> Store:
    if request.param == "folder":
        return FolderStore(folder)
    return S3Store(request.getfixturevalue("client"), "s3a://lake/landing/")


def test_every_object_is_listed_by_path_with_its_size(store: Store) -> None:
    assert [(seen.path, seen.size) for seen in store.list()] == sorted(
        (name, len(content)) for name, content in FILES.items()
    )
    assert all(seen.modified.tzinfo is UTC or seen.modified.utcoffset() is not None for seen in store.list())
    assert len({seen.etag for seen in store.list()}) > 1


def test_a_prefix_is_letters_and_not_a_folder(store: Store) -> None:
    assert [seen.path for seen in store.list("payments/a")] == ["payments/a.jsonl"]
    assert [seen.path for seen in store.list("pay")] == ["payments/2026/b c.jsonl", "payments/a.jsonl"]
    assert list(store.list("none")) == []


def test_an_object_is_read_whole(store: Store) -> None:
    digests = {}
    for name in FILES:
        with store.open(name) as stream:
            digests[name] = hashlib.sha256(stream.read()).digest()
    assert digests == {name: hashlib.sha256(content).digest() for name, content in FILES.items()}


def test_an_object_that_is_gone_is_told(store: Store) -> None:
    with pytest.raises(SourceChanged, match=r"gone\.jsonl"):
        store.open("gone.jsonl")


def test_an_etag_changes_with_the_content(folder: Path) -> None:
    store = FolderStore(folder)
    [before] = store.list("rates")
    (folder / "rates.csv").write_bytes(b"date\n")
    [after] = store.list("rates")
    assert before.etag != after.etag
    assert after.modified <= datetime.now(UTC)


def test_hidden_files_are_not_listed(folder: Path) -> None:
    (folder / ".partial").write_bytes(b"x")
    (folder / ".tmp").mkdir()
    (folder / ".tmp" / "x").write_bytes(b"x")
    assert len(list(FolderStore(folder).list())) == len(FILES)


def test_a_missing_folder_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="nowhere"):
        list(FolderStore(tmp_path / "nowhere").list())


@pytest.mark.parametrize("path", ["../secret", "/etc/hostname", "payments/../../secret"])
def test_no_path_leads_out_of_the_folder(folder: Path, path: str) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    with pytest.raises(SourceRefused, match="leads out"):
        FolderStore(folder).open(path)


def test_a_denied_bucket_is_refused(client: S3Client) -> None:
    store = S3Store(client, "s3://forbidden/x")
    with pytest.raises(SourceRefused, match="AccessDenied"):
        list(store.list())
    with pytest.raises(SourceRefused):
        store.open("y")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    absent = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:1",
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",  # noqa: S106  (the server on loopback asks for none)
        config=Config(retries={"max_attempts": 1}),
    )
    with pytest.raises(SourceUnreachable, match="s3://lake"):
        list(S3Store(absent, "s3://lake/landing").list())
    absent.close()
