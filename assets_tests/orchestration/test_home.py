"""Dagster's runs in PostgreSQL and its logs on S3: what the file says, what processes are told, and that it works."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import dagster as dg
import psycopg
import pytest
import yaml
from pydantic import SecretStr

from lakehouse.errors import ServiceError, SettingsError
from lakehouse.orchestration.home import child_environment, open_instance, prepare_home
from lakehouse.orchestration.project import definitions
from lakehouse.orchestration.runs import run_tables
from lakehouse.settings import S3, Dagster, FilesSource, Settings
from lakehouse.storage.open import open_store, s3_client
from lakehouse.storage.s3 import S3Store
from lakehouse.tables import Layer, TableName

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations

ORDERS = TableName(Layer.BRONZE, "orders")
SAID = "said by a step"


@dg.multi_asset(specs=[dg.AssetSpec(list(ORDERS.key))])
def orders() -> Iterator[dg.MaterializeResult[None]]:
    print(SAID)  # noqa: T201  (what a step prints is what the logs are for)
    yield dg.MaterializeResult(asset_key=dg.AssetKey(list(ORDERS.key)))


@pytest.fixture
def place() -> str:
    return f"s3://lake/{uuid.uuid4().hex}/logs"


@pytest.fixture
def shared(settings: Settings, s3: S3, database: SecretStr, place: str) -> Settings:
    """Settings whose Dagster is on PostgreSQL and S3."""
    return settings.model_copy(update={"s3": s3, "dagster": Dagster(storage=database, logs=place)})


def rows(database: SecretStr, sql: str) -> list[tuple[object, ...]]:
    with closing(psycopg.connect(database.get_secret_value(), autocommit=True)) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_the_file_names_variables_and_no_secret(shared: Settings, database: SecretStr, place: str) -> None:
    text = (prepare_home(shared) / "dagster.yaml").read_text()
    written = yaml.safe_load(text)
    assert written["telemetry"] == {"enabled": False}
    assert written["storage"] == {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}}
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    logs = written["compute_logs"]["config"]
    assert (logs["bucket"], logs["prefix"]) == (bucket, prefix)
    assert logs["endpoint_url"] == {"env": "AWS_ENDPOINT_URL_S3"}
    assert database.get_secret_value() not in text
    assert shared.s3.secret_key is not None
    assert f'"{shared.s3.secret_key.get_secret_value()}"' not in text


def test_runs_begin_at_once_and_those_that_were_killed_are_done_again(settings: Settings) -> None:
    prepare_home(settings)
    with open_instance(settings) as instance:
        assert instance.run_coordinator.dequeue_interval_seconds == 1
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled


def test_on_aws_the_file_has_no_endpoint(shared: Settings) -> None:
    prepare_home(shared.model_copy(update={"s3": S3(region="eu-central-1")}))
    written = yaml.safe_load((shared.dagster_home / "dagster.yaml").read_text())
    logs = written["compute_logs"]["config"]
    assert "endpoint_url" not in logs
    assert logs["region"] == "eu-central-1"


def test_a_run_is_kept_in_the_database_and_what_it_prints_on_s3(
    shared: Settings, database: SecretStr, place: str
) -> None:
    before = dict(os.environ)
    with open_instance(shared) as instance:
        report = run_tables(dg.Definitions(assets=[orders]), instance, [ORDERS])
        assert report.success, report.failures
        logs = open_store(shared, place)
        stored = [seen.path for seen in logs.list(f"storage/{report.run_id}/") if seen.path.endswith(".out")]
        with logs.open(stored[0]) as stream:
            assert SAID in stream.read().decode()
    assert dict(os.environ) == before
    assert rows(database, "SELECT run_id, status FROM runs") == [(report.run_id, "SUCCESS")]
    assert not list(shared.dagster_home.rglob("*.db"))

    # Another process finds both.
    with open_instance(shared) as instance:
        key = stored[0].removeprefix("storage/").removesuffix(".out").split("/")
        assert SAID in (instance.compute_log_manager.get_log_data(key).stdout or b"").decode()


def test_a_child_is_told_what_the_file_names(shared: Settings, database: SecretStr) -> None:
    told = child_environment(shared)
    assert told["DAGSTER_POSTGRES_URL"].startswith("postgresql+psycopg2://")
    assert told["DAGSTER_POSTGRES_URL"].partition("://")[2] == database.get_secret_value().partition("://")[2]
    assert (told["AWS_ENDPOINT_URL_S3"], told["AWS_DEFAULT_REGION"]) == (shared.s3.endpoint, "us-east-1")
    assert (told["AWS_ACCESS_KEY_ID"], told["AWS_SECRET_ACCESS_KEY"]) == ("key", "secret")
    # The tables are there, so that the processes of `dagster dev` need not make them both.
    assert rows(database, "SELECT count(*) FROM runs") == [(0,)]


def test_nothing_is_told_where_all_is_in_the_folder(settings: Settings) -> None:
    told = child_environment(settings)
    assert not [name for name in told if name.startswith("AWS_") or name == "DAGSTER_POSTGRES_URL"]


def test_without_keys_boto3_finds_its_own(shared: Settings) -> None:
    keyless = shared.model_copy(
        update={"s3": S3(endpoint=shared.s3.endpoint), "dagster": Dagster(logs=shared.dagster.logs)}
    )
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(child_environment(keyless))


def test_a_database_that_does_not_answer_is_told_without_its_password(settings: Settings) -> None:
    storage = SecretStr("postgresql://dagster:hunter2@127.0.0.1:1/runs")
    with (
        pytest.raises(ServiceError, match="database of Dagster's runs does not answer") as refused,
        open_instance(settings.model_copy(update={"dagster": Dagster(storage=storage)})),
    ):
        pass
    assert "hunter2" not in str(refused.value)
    assert "LAKEHOUSE_DAGSTER__STORAGE" in refused.value.remedy


def test_logs_that_are_not_on_s3_are_refused(shared: Settings) -> None:
    with pytest.raises(SettingsError, match=r"'dagster\.logs' cannot be used; expected s3://bucket/prefix"):
        prepare_home(shared.model_copy(update={"dagster": Dagster(logs="/var/log")}))


@pytest.fixture
def in_a_bucket(ready: Settings, s3: S3) -> Settings:
    """The shop's settings, its files delivered into a prefix of its own."""
    landing = FilesSource(root=f"s3://lake/{uuid.uuid4().hex}/landing")
    return ready.model_copy(update={"s3": s3, "sources": {**ready.sources, "landing": landing}})


def test_the_landing_sensor_looks_into_the_bucket(
    in_a_bucket: Settings, declarations: Declarations, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert declarations
    defs = definitions(in_a_bucket)
    repository = defs.get_repository_def()
    sensor = repository.get_sensor_def("payments_landing")
    for name, value in child_environment(in_a_bucket).items():
        monkeypatch.setenv(name, value)
    client = s3_client(in_a_bucket)
    source = in_a_bucket.sources["landing"]
    assert isinstance(source, FilesSource)
    store, ticks, cursor = S3Store(client, source.root), [], None
    for delivered in ("payments/payments-2026-01-01.jsonl", None, "payments/payments-2026-01-02.jsonl"):
        if delivered:
            store.put(delivered, b'{"payment_id": "P1"}\n')
        with (
            dg.DagsterInstance.ephemeral() as instance,
            dg.build_sensor_context(
                instance=instance, repository_def=repository, resources=defs.resources, cursor=cursor
            ) as context,
        ):
            tick = sensor.evaluate_tick(context)
        cursor = tick.cursor
        ticks.append(len(tick.run_requests or ()))
    client.close()
    assert ticks == [1, 0, 1]


def test_only_files_in_a_bucket_need_the_resource(in_a_bucket: Settings, ready: Settings) -> None:
    assert set(definitions(ready).resources or {}) == set()
    found = definitions(in_a_bucket)
    assert set(found.resources or {}) == {"s3"}
    needing = {
        ".".join(asset.key.path)
        for asset in found.assets or ()
        if isinstance(asset, dg.AssetsDefinition) and "s3" in asset.required_resource_keys
    }
    assert needing == {"bronze.payments"}
