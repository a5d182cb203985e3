"""S3 as Dagster's processes use it: the resource that files on S3 are read through, and the variables it needs.

What is read does not belong here, nor how tables reach S3 (`iceberg/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.settings import FilesSource, Settings
from lakehouse.storage import from_uri, is_s3
from lakehouse.tables import Table

if TYPE_CHECKING:
    from dagster_aws.s3 import S3Resource
    from mypy_boto3_s3 import S3Client

RESOURCE = "s3"
ENDPOINT = "AWS_ENDPOINT_URL_S3"


def resources(settings: Settings) -> dict[str, S3Resource]:
    """The resource `s3`, where a source's files are on S3. It names variables, so that Dagster shows no secret."""
    if not any(map(_on_s3, settings.sources.values())):
        return {}
    from dagster_aws.s3 import S3Resource

    endpoint = None if settings.s3.endpoint is None else dg.EnvVar(ENDPOINT)
    return {RESOURCE: S3Resource(region_name=settings.s3.region, endpoint_url=endpoint)}


def resource_keys(settings: Settings, table: Table) -> set[str]:
    """The resources that loading this table takes: `s3` or none."""
    source = settings.sources.get(table.load.source) if table.load is not None else None
    return {RESOURCE} if _on_s3(source) else set()


def client(context: dg.AssetExecutionContext | dg.SensorEvaluationContext) -> S3Client:
    """The boto3 client of the resource `s3`, which Dagster puts in the resource's place (`S3Resource.get_client`)."""
    found: S3Client = getattr(context.resources, RESOURCE)
    return found


def variables(settings: Settings) -> dict[str, str]:
    """Endpoint, region and keys as boto3 reads them from the environment; starts the project's own server.

    Nothing where nothing of Dagster's is on S3, and no keys where the settings have none: boto3 finds its own.
    """
    if settings.dagster.logs is None and not any(map(_on_s3, settings.sources.values())):
        return {}
    from lakehouse.services.endpoints import s3_endpoint

    s3 = s3_endpoint(settings)
    found = {"AWS_DEFAULT_REGION": s3.region}
    if s3.endpoint is not None:
        found[ENDPOINT] = s3.endpoint
    if s3.access_key is not None and s3.secret_key is not None:
        found["AWS_ACCESS_KEY_ID"] = s3.access_key.get_secret_value()
        found["AWS_SECRET_ACCESS_KEY"] = s3.secret_key.get_secret_value()
    return found


def _on_s3(source: object) -> bool:
    return isinstance(source, FilesSource) and "://" in source.root and is_s3(from_uri(source.root))
