"""Buckets of an S3 server, made through boto3, so that any server will do. Their contents do not belong here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakehouse.errors import ServiceError
from lakehouse.settings import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_OURS_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def make_buckets(s3: S3, names: Sequence[str]) -> None:
    """Make those buckets that are not there. Raises ServiceError when the server refuses or does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (0.3 s, for this alone)

    client = _client(s3)
    for name in names:
        try:
            client.create_bucket(Bucket=name)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") not in _OURS_ALREADY:
                raise _refused(name, str(error)) from None
        except BotoCoreError as error:
            raise _refused(name, str(error)) from None


def _client(s3: S3) -> S3Client:
    import boto3  # noqa: PLC0415  (0.3 s, for this alone)
    from botocore.config import Config  # noqa: PLC0415

    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key.get_secret_value() if s3.access_key else None,
        aws_secret_access_key=s3.secret_key.get_secret_value() if s3.secret_key else None,
        # Buckets by path: loopback has no names below it. A proxy of the environment has no business there.
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, proxies={}),
    )


def _refused(name: str, found: str) -> ServiceError:
    return ServiceError(
        f"bucket {name!r} cannot be made",
        found=found,
        remedy="Check the S3 settings (endpoint, keys), and that the name is one that S3 allows.",
    )
