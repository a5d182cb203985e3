"""What only a bucket has: keys that stand for folders, pages, and deletes that a policy forbids."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from pyarrow.fs import S3FileSystem

from lakehouse.errors import SourceRefused, SourceUnreachable
from lakehouse.settings import S3, Settings
from lakehouse.storage import Deleted
from lakehouse.storage.open import s3_client
from lakehouse.storage.s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def arrow(s3: S3) -> S3FileSystem:
    assert s3.access_key is not None
    assert s3.secret_key is not None
    keys = {"access_key": s3.access_key.get_secret_value(), "secret_key": s3.secret_key.get_secret_value()}
    return S3FileSystem(endpoint_override=s3.endpoint, region="us-east-1", **keys)


def folders_of_arrow(s3: S3, client: S3Client, bucket: str) -> None:
    """PyArrow marks a folder by an empty key with a slash at its end: when it makes one, and when it empties one."""
    root = f"{bucket}/{uuid.uuid4().hex}"
    files = arrow(s3)
    files.create_dir(f"{root}/silver/orders/data", recursive=True)
    with files.open_output_stream(f"{root}/silver/orders/data/a.parquet") as stream:
        stream.write(b"x")
    with files.open_output_stream(f"{root}/gold/flat/b.parquet") as stream:
        stream.write(b"x")
    files.delete_file(f"{root}/gold/flat/b.parquet")
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=root.partition("/")[2])["Contents"]]
    assert {key.rpartition("/")[2] for key in keys} == {"", "a.parquet"}
    assert [seen.path for seen in S3Store(client, f"s3://{root}").walk()] == ["silver/orders/data/a.parquet"]


def test_the_folders_that_pyarrow_marks_are_not_objects(client: S3Client, s3: S3) -> None:
    folders_of_arrow(s3, client, "lake")


def test_the_folders_that_pyarrow_marks_on_a_real_server(s3_server: S3, bucket: str, settings: Settings) -> None:
    client = s3_client(settings.model_copy(update={"s3": s3_server}))
    folders_of_arrow(s3_server, client, bucket)
    client.close()


def test_a_marker_without_a_slash_is_an_object_like_any_other(client: S3Client) -> None:
    """Old Hadoop writes `data_$folder$`: nothing tells such a key from a file, and nobody misses it."""
    store = S3Store(client, f"s3://lake/{uuid.uuid4().hex}")
    store.put("silver/orders/data_$folder$", b"")
    assert [seen.path for seen in store.walk("silver/")] == ["silver/orders/data_$folder$"]


def test_a_prefix_does_not_reach_into_its_neighbour(client: S3Client) -> None:
    place = uuid.uuid4().hex
    S3Store(client, f"s3://lake/{place}-beside").put("x", b"")
    S3Store(client, f"s3://lake/{place}").put("x", b"")
    assert [seen.path for seen in S3Store(client, f"s3://lake/{place}").walk()] == ["x"]
    S3Store(client, f"s3://lake/{place}").delete(["x"])
    assert [seen.path for seen in S3Store(client, f"s3://lake/{place}-beside").walk()] == ["x"]


class _Large(BaseHTTPRequestHandler):
    """A bucket of `OBJECTS` objects, listed in pages; it refuses to delete keys that end in 7, and all of `/forbidden`.

    Of what was not there (keys that end in 3) it says so, as some servers do.
    """

    OBJECTS = 6_000
    asked: list[str]

    def do_GET(self) -> None:
        token = parse_qs(urlsplit(self.path).query).get("continuation-token", ["0"])[0]
        begin, end = int(token), min(int(token) + 1000, self.OBJECTS)
        self.asked.append(token)
        items = "".join(
            f"<Contents><Key>warehouse/silver/orders/data/{number:032x}.parquet</Key><Size>{number}</Size>"
            f'<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"{number}"</ETag></Contents>'
            for number in range(begin, end)
        )
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < self.OBJECTS else ""
        truncated = str(bool(more)).lower()
        page = f"<IsTruncated>{truncated}</IsTruncated>{more}{items}"
        self._answer(200, f'<ListBucketResult xmlns="{NAMESPACE}">{page}</ListBucketResult>')

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.startswith("/forbidden"):
            self._answer(403, "<Error><Code>AccessDenied</Code></Error>")
            return
        keys = [part.partition("</Key>")[0] for part in body.split("<Key>")[1:]]
        self.asked.append(str(len(keys)))
        codes = {"7": "AccessDenied", "3": "NoSuchKey"}
        errors = "".join(
            f"<Error><Key>{key}</Key><Code>{codes[key[-1]]}</Code><Message>no</Message></Error>"
            for key in keys
            if key[-1] in codes
        )
        self._answer(200, f'<DeleteResult xmlns="{NAMESPACE}">{errors}</DeleteResult>')

    def _answer(self, status: int, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class' name)
        """Quiet."""


@pytest.fixture
def large(settings: Settings) -> Iterator[tuple[Callable[[str], S3Store], list[str]]]:
    """at(root) of that server, and what it was asked."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Large", (_Large,), {"asked": asked}))
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    given = {"endpoint": f"http://127.0.0.1:{server.server_port}", "access_key": "k", "secret_key": "s"}
    client = s3_client(settings.model_copy(update={"s3": S3.model_validate(given)}))
    yield (lambda root: S3Store(client, root)), asked
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_walk_asks_for_a_page_when_the_last_one_is_used_up(
    large: tuple[Callable[[str], S3Store], list[str]],
) -> None:
    """Ten million objects are never in memory at once, nor listed before the first is looked at."""
    at, asked = large
    walking = at("s3://lake/warehouse").walk()
    assert asked == []
    for _ in range(2000):
        next(walking)
    assert asked == ["0", "1000"]
    assert sum(1 for _ in walking) == _Large.OBJECTS - 2000
    assert len(asked) == _Large.OBJECTS // 1000


def test_keys_that_a_policy_protects_are_told_and_the_others_are_gone(
    large: tuple[Callable[[str], S3Store], list[str]],
) -> None:
    at, asked = large
    done = at("s3://lake/warehouse").delete(f"data/{number}" for number in range(2500))
    assert asked == ["1000", "1000", "500"]
    refused = tuple(f"data/{number}" for number in range(2500) if number % 10 == 7)
    assert done == Deleted(count=2000, missing=250, failed=refused)


def test_a_bucket_that_takes_no_delete_at_all_is_refused(large: tuple[Callable[[str], S3Store], list[str]]) -> None:
    with pytest.raises(SourceRefused, match="AccessDenied"):
        large[0]("s3://forbidden/warehouse").delete(["x"])


def test_a_server_that_is_gone_is_unreachable(settings: Settings) -> None:
    given = {"endpoint": "http://127.0.0.1:9", "access_key": "k", "secret_key": "s", "timeout_s": 1}
    client = s3_client(settings.model_copy(update={"s3": S3.model_validate(given)}))
    store = S3Store(client, "s3://lake/warehouse")
    with pytest.raises(SourceUnreachable, match="cannot be reached"):
        list(store.walk())
    with pytest.raises(SourceUnreachable, match="cannot be reached"):
        store.delete(["x"])
    client.close()
