"""The project's own S3 server (`embedded://s3`): found, remembered, never confused, its keys for its owner alone."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from pydantic import SecretStr

from lakehouse.errors import ServiceError, SettingsError, StateError
from lakehouse.services import endpoints, process
from lakehouse.services.processes import birth, end
from lakehouse.services.s3_server import EmbeddedS3, bucket_names
from lakehouse.services.servers import S3_KINDS, ServerKind, cache_folder
from lakehouse.settings import S3, Profile, Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Settings]:
    """Profile local, in a state folder of its own."""
    settings = load_settings(ROOT, profile=Profile.LOCAL, state=str(tmp_path / "state"))
    yield settings
    endpoints.stop_services(settings)
    endpoints.embedded_postgres(settings).remove()


@pytest.fixture(params=[pytest.param(kind, id=kind.value, marks=pytest.mark.services) for kind in S3_KINDS])
def kind(request: pytest.FixtureRequest, program: Callable[[ServerKind], Path]) -> ServerKind:
    """Either kind of server; installed, not started."""
    assert program(request.param)
    found: ServerKind = request.param
    return found


def _server(settings: Settings) -> EmbeddedS3:
    server = endpoints.embedded_s3(settings)
    assert server is not None
    return server


def _buckets(s3: S3) -> list[str]:
    assert s3.access_key is not None
    assert s3.secret_key is not None
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key.get_secret_value(),
        aws_secret_access_key=s3.secret_key.get_secret_value(),
    )
    return [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]


def test_first_start_makes_keys_and_buckets_and_later_ones_find_them(local: Settings, kind: ServerKind) -> None:
    s3 = _server(local).ensure(kind)
    assert _buckets(s3) == ["lake"]
    assert endpoints.s3_endpoint(local) == s3
    file = local.state / "s3" / "server.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    remembered = json.loads(file.read_text())
    assert remembered["kind"] == kind
    assert len(remembered["secret_key"]) >= 32
    assert remembered["secret_key"] not in repr(s3) + str(local)


def test_keys_are_of_one_project_only(local: Settings, kind: ServerKind, tmp_path: Path) -> None:
    other = load_settings(ROOT, profile=Profile.LOCAL, state=str(tmp_path / "other"))
    ours, theirs = (_server(one).ensure(kind) for one in (local, other))
    endpoints.stop_services(other)
    assert ours.endpoint != theirs.endpoint
    assert ours.access_key != theirs.access_key
    assert ours.secret_key != theirs.secret_key


def test_it_is_started_on_demand_with_the_address_of_last_time(local: Settings, kind: ServerKind) -> None:
    first = _server(local).ensure(kind)
    endpoints.stop_services(local)
    assert not _server(local).status().running
    assert endpoints.s3_endpoint(local) == first
    status = _server(local).status()
    assert status.pid is not None
    born = birth(status.pid) or ""
    os.kill(status.pid, signal.SIGKILL)
    assert end(status.pid, born, [(signal.SIGKILL, 10)])
    assert endpoints.s3_endpoint(local) == first
    assert _buckets(first) == ["lake"]


def test_another_kind_does_not_begin_beside_it(local: Settings, kind: ServerKind) -> None:
    _server(local).ensure(kind)
    (other,) = set(S3_KINDS) - {kind}
    with pytest.raises(ServiceError, match=f"held by {kind}, which {other} cannot read"):
        _server(local).ensure(other)
    assert {one.name for one in endpoints.services_status(local)} == {"postgres", kind.value}


def test_many_that_need_it_at_once_share_one(local: Settings, kind: ServerKind) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: _server(local).ensure(kind), range(4)))
    assert len(set(map(repr, found))) == 1
    assert len({one.secret_key for one in found if one.secret_key}) == 1


def test_interrupted_start_is_completed_by_the_next(local: Settings, kind: ServerKind) -> None:
    """As after a kill between the server's start and its buckets: the port is not remembered yet."""
    s3 = _server(local).ensure(kind)
    file = local.state / "s3" / "server.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "port": None}))
    objects = local.state / "s3" / kind / "objects" / "lake"
    shutil.rmtree(objects)
    assert _server(local).ensure() == s3
    assert objects.is_dir()
    assert _buckets(s3) == ["lake"]


def test_keys_of_the_settings_are_used(local: Settings, kind: ServerKind) -> None:
    given = local.s3.model_copy(update={"access_key": SecretStr("mine"), "secret_key": SecretStr("my-own-secret")})
    settings = local.model_copy(update={"s3": given})
    s3 = _server(settings).ensure(kind)
    assert (s3.access_key, s3.secret_key) == (given.access_key, given.secret_key)
    assert _buckets(s3) == ["lake"]
    assert "my-own-secret" not in (local.state / "s3" / "server.json").read_text()


def test_lost_keys_of_a_running_server_are_told(local: Settings, kind: ServerKind) -> None:
    _server(local).ensure(kind)
    (local.state / "s3" / "server.json").unlink()
    with pytest.raises(StateError, match=f"is gone while {kind} runs"):
        _server(local).ensure(kind)


def test_command_starts_shows_and_stops_all_of_profile_local(local: Settings, kind: ServerKind) -> None:
    environment = {**os.environ, "LAKEHOUSE_PROFILE": "local", "LAKEHOUSE_STATE": str(local.state)}

    def lakehouse(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lakehouse", "service", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)

    up = lakehouse("up", "--s3", kind)
    assert up.returncode == 0, up.stderr
    shown = {one["name"]: one["running"] for one in json.loads(lakehouse("status", "--json").stdout)}
    assert shown == {"postgres": True, "pages": True, "rates": True, kind.value: True}
    (other,) = set(S3_KINDS) - {kind}
    refused = lakehouse("up", "--s3", other)
    assert refused.returncode != 0
    assert f"held by {kind}" in refused.stderr
    assert lakehouse("down").returncode == 0
    assert not any(one["running"] for one in json.loads(lakehouse("status", "--json").stdout))


@pytest.fixture
def bare(local: Settings, tmp_path: Path) -> EmbeddedS3:
    """A server of a project that has installed none."""
    return EmbeddedS3(local.state / "s3", local.state / "services", tmp_path / "cache", S3())


def test_server_that_is_not_installed_names_the_command(bare: EmbeddedS3) -> None:
    with pytest.raises(ServiceError, match=r"minio.*is not installed.*make services S3=minio"):
        bare.ensure()
    assert not bare.folder.exists()
    assert not bare.status().running


def test_unreadable_keys_are_told_without_them(bare: EmbeddedS3) -> None:
    bare.folder.mkdir(parents=True)
    (bare.folder / "server.json").write_text('{"kind": "minio", "access_key": ["a-key"]}')
    with pytest.raises(StateError, match="cannot be read") as refused:
        bare.ensure()
    assert "a-key" not in str(refused.value)
    (bare.folder / "server.json").unlink()


def test_s3_elsewhere_is_answered_as_it_is(tmp_path: Path) -> None:
    given = {"endpoint": "https://s3.example.com", "access_key": "key", "secret_key": "secret"}
    settings = load_settings(ROOT, profile=Profile.LOCAL, state=str(tmp_path / "state"), s3=given)
    assert endpoints.embedded_s3(settings) is None
    assert endpoints.s3_endpoint(settings) is settings.s3
    assert not settings.state.exists()


@pytest.mark.parametrize(
    ("address", "match"), [("embedded://minio", "none of this project's"), ("embedded://", "names")]
)
def test_address_that_names_no_service(tmp_path: Path, address: str, match: str) -> None:
    settings = load_settings(ROOT, state=str(tmp_path / "state"), s3={"endpoint": address})
    with pytest.raises(SettingsError, match=match):
        endpoints.s3_endpoint(settings)


def test_buckets_are_those_of_every_setting_on_s3(local: Settings) -> None:
    assert _server(local).buckets == ("lake",)
    assert _server(local).cache == cache_folder(local)
    assert bucket_names(["s3://b/x/y", "file:///c/d", "", "s3a://a", "landing", "s3://b"]) == ("a", "b")


def test_command_without_an_s3_server_of_its_own_refuses_to_start_one(tmp_path: Path) -> None:
    environment = {**os.environ, "LAKEHOUSE_PROFILE": "embedded", "LAKEHOUSE_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "lakehouse", "service", "up", "--s3", "minio"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode != 0
    assert "runs no S3 server itself" in done.stderr
    assert process.names(tmp_path / "state" / "services") == ()
