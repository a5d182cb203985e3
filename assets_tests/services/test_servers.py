"""MinIO, VersityGW and the REST catalog, as they really are: started, killed, restarted, asked with a wrong key."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException

from lakehouse.errors import ServiceError
from lakehouse.services import process
from lakehouse.services.buckets import client as client_of
from lakehouse.services.buckets import make_buckets
from lakehouse.services.processes import birth, command_line, end
from lakehouse.services.servers import S3_KINDS, ServerKind, rest_catalog_spec, s3_spec
from lakehouse.services.status import ServiceSpec, Status
from lakehouse.settings import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

KEY, SECRET = SecretStr("owner"), SecretStr("a-secret-of-the-owner")
ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64())})


@pytest.fixture(params=[pytest.param(kind, id=kind.value, marks=pytest.mark.services) for kind in S3_KINDS])
def own(request: pytest.FixtureRequest, program: Callable[[ServerKind], Path], tmp_path: Path) -> ServiceSpec:
    """A server of the test's own, not started yet."""
    kind = request.param
    return s3_spec(kind, program(kind), tmp_path / "data", access_key=KEY, secret_key=SECRET)


def _s3(status: Status, secret: SecretStr = SECRET) -> S3:
    return S3(endpoint=f"http://127.0.0.1:{status.port}", access_key=KEY, secret_key=secret)


def _put(client: S3Client, text: bytes = b"rows") -> None:
    client.put_object(Bucket="kept", Key="a/b.txt", Body=text)


def _get(client: S3Client) -> bytes:
    return client.get_object(Bucket="kept", Key="a/b.txt")["Body"].read()


def _kill(status: Status) -> None:
    assert status.pid is not None
    born = birth(status.pid) or ""
    os.kill(status.pid, signal.SIGKILL)
    assert end(status.pid, born, [(signal.SIGKILL, 10)])


def test_objects_outlive_a_stop_and_a_kill(folder: Path, own: ServiceSpec) -> None:
    first = process.start(folder, own)
    client = client_of(_s3(first))
    client.create_bucket(Bucket="kept")
    _put(client)
    process.stop(folder, own.name)
    assert not process.status(folder, own.name).running
    second = process.start(folder, own)
    assert _get(client_of(_s3(second))) == b"rows"
    _put(client_of(_s3(second)), b"more rows")
    _kill(second)
    assert not process.status(folder, own.name).running
    assert _get(client_of(_s3(process.start(folder, own)))) == b"more rows"


def test_it_comes_back_on_the_port_of_last_time(folder: Path, own: ServiceSpec) -> None:
    first = process.start(folder, own)
    _kill(first)
    assert process.start(folder, replace(own, port=first.port)).port == first.port


def test_two_that_start_at_once_share_one_server(folder: Path, own: ServiceSpec) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({status.pid for status in pool.map(lambda _: process.start(folder, own), range(4))}) == 1


def test_wrong_key_is_refused(folder: Path, own: ServiceSpec) -> None:
    wrong = _s3(process.start(folder, own), SecretStr("a-secret-of-another"))
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client_of(wrong).list_buckets()
    with pytest.raises(ServiceError, match="'kept' cannot be made") as refused:
        make_buckets(wrong, ["kept"])
    assert "a-secret" not in str(refused.value)


def test_keys_stand_in_no_list_of_processes_and_no_log(folder: Path, own: ServiceSpec) -> None:
    status = process.start(folder, own)
    assert status.pid is not None
    assert status.log is not None
    client_of(_s3(status)).list_buckets()
    assert SECRET.get_secret_value() not in command_line(status.pid) + status.log.read_text()


def test_it_listens_on_loopback_alone(folder: Path, own: ServiceSpec) -> None:
    status = process.start(folder, own)
    listening = subprocess.run(["ss", "-Hltnp"], check=True, capture_output=True, text=True).stdout.splitlines()
    places = {line.split()[3] for line in listening if f"pid={status.pid}," in line}
    assert f"127.0.0.1:{status.port}" in places
    assert places <= {f"127.0.0.1:{status.port}", f"[::1]:{status.port}"}


def test_one_of_many_creators_wins(s3_server: S3, bucket: str) -> None:
    """What commits on S3 rest on: a conditional write is refused, never lost."""
    client = client_of(s3_server)
    barrier = threading.Barrier(8)

    def create(number: int) -> int:
        barrier.wait()
        try:
            client.put_object(Bucket=bucket, Key="head", Body=str(number).encode(), IfNoneMatch="*")
        except ClientError as error:
            return error.response["ResponseMetadata"]["HTTPStatusCode"]
        return 200

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(8)))
    assert set(answers) <= {200, 409, 412}
    won = [str(number).encode() for number, answer in enumerate(answers) if answer == 200]
    assert won == [client.get_object(Bucket=bucket, Key="head")["Body"].read()]


def test_making_buckets_again_is_fine(s3_server: S3, bucket: str) -> None:
    make_buckets(s3_server, [bucket, f"{bucket}-2"])
    make_buckets(s3_server, [bucket, f"{bucket}-2"])
    with pytest.raises(ServiceError, match="'X' cannot be made"):
        make_buckets(s3_server, ["X"])


@pytest.fixture(params=[pytest.param(ServerKind.REST_CATALOG, id="rest-catalog", marks=pytest.mark.services)])
def rest_program(request: pytest.FixtureRequest, program: Callable[[ServerKind], Path]) -> Path:
    """Where the REST catalog is installed, for tests that start one of their own."""
    return program(request.param)


def _catalog(uri: str, s3: S3 | None = None) -> Catalog:
    properties = {"type": "rest", "uri": uri}
    if s3 is not None and s3.endpoint is not None and s3.access_key is not None and s3.secret_key is not None:
        properties |= {
            "s3.endpoint": s3.endpoint,
            "s3.region": s3.region,
            "s3.access-key-id": s3.access_key.get_secret_value(),
            "s3.secret-access-key": s3.secret_key.get_secret_value(),
        }
    return load_catalog("rest", **properties)


def _rows(catalog: Catalog) -> int:
    return int(catalog.load_table("shop.orders").scan().to_arrow().num_rows)


def test_catalog_over_a_folder_outlives_a_kill(rest_program: Path, tmp_path: Path, folder: Path) -> None:
    warehouse = f"file://{tmp_path}/ware house"
    spec = rest_catalog_spec(rest_program, tmp_path / "state" / "catalog.db", warehouse, s3=None)
    first = process.start(folder, spec)
    catalog = _catalog(f"http://127.0.0.1:{first.port}")
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.orders", schema=ROWS.schema)
    table.append(ROWS)
    assert table.location() == f"{warehouse}/shop/orders"
    assert table.metadata_location.startswith(f"{warehouse}/shop/orders/metadata/")
    _kill(first)
    again = process.start(folder, spec)
    assert _rows(_catalog(f"http://127.0.0.1:{again.port}")) == 3
    process.stop(folder, spec.name)
    assert not process.status(folder, spec.name).running


def test_catalog_over_s3_keeps_every_commit_of_many(
    s3_server: S3, bucket: str, start_rest_catalog: Callable[[str, S3 | None], str]
) -> None:
    uri = start_rest_catalog(f"s3://{bucket}/warehouse", s3_server)
    catalog = _catalog(uri, s3_server)
    catalog.create_namespace("shop")
    catalog.create_table("shop.orders", schema=ROWS.schema)

    def append(_: int) -> None:
        mine = _catalog(uri, s3_server)
        for _round in range(3):
            while True:
                try:
                    mine.load_table("shop.orders").append(ROWS)
                    break
                except CommitFailedException:
                    continue

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(append, range(3)))
    assert _rows(catalog) == 3 * 3 * ROWS.num_rows
    assert len(catalog.load_table("shop.orders").history()) == 9


def test_catalog_that_cannot_open_its_state_says_so(rest_program: Path, tmp_path: Path, folder: Path) -> None:
    (tmp_path / "catalog.db").write_text("no database " * 100)
    spec = rest_catalog_spec(rest_program, tmp_path / "catalog.db", f"file://{tmp_path}/{uuid.uuid4()}", s3=None)
    with pytest.raises(ServiceError, match="rest-catalog does not start"):
        process.start(folder, spec)


def test_catalog_needs_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match=r"'java', which is not on PATH\. Install a JDK 17"):
        rest_catalog_spec(tmp_path, tmp_path / "catalog.db", f"file://{tmp_path}", s3=None)


def test_only_s3_servers_speak_s3(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="toxiproxy is no S3 server"):
        s3_spec(ServerKind.TOXIPROXY, tmp_path, tmp_path, access_key=KEY, secret_key=SECRET)
