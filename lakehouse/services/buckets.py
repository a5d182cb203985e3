"""Buckets of an S3 server, made through boto3, so that any server will do, and the one client for such a server.

What is in buckets does not belong here.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lakehouse.errors import ServiceError
from lakehouse.settings import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ATTEMPTS = 5
_OURS_ALREADY = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


def make_buckets(s3: S3, names: Sequence[str]) -> None:
    """Make those buckets that are not there. Raises ServiceError when the server refuses or does not answer."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  (0.3 s, for this alone)

    with closing(client(s3)) as made:
        for name in names:
            try:
                made.create_bucket(Bucket=name)
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _OURS_ALREADY:
                    raise _refused(name, str(error)) from None
            except BotoCoreError as error:
                raise _refused(name, str(error)) from None


def client(s3: S3) -> S3Client:
    """A client for this server; close it when many are made. Without both keys, boto3 finds its own."""
    import boto3  # noqa: PLC0415  (takes half a second, which only those on S3 pay)
    from botocore.config import Config  # noqa: PLC0415

    keys = s3.access_key is not None and s3.secret_key is not None
    config = Config(
        signature_version="s3v4",
        connect_timeout=s3.timeout_s,
        read_timeout=s3.timeout_s,
        retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
        # Buckets by path, as Arrow and DuckDB ask a server with an address of its own: it has no names below it.
        s3={"addressing_style": "auto" if s3.endpoint is None else "path"},
        # None takes the environment's proxy, which has no business on loopback.
        proxies={} if _is_loopback(s3.endpoint) else None,
    )
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        region_name=s3.region,
        aws_access_key_id=s3.access_key.get_secret_value() if keys and s3.access_key else None,
        aws_secret_access_key=s3.secret_key.get_secret_value() if keys and s3.secret_key else None,
        config=config,
    )


def _is_loopback(endpoint: str | None) -> bool:
    host = urlsplit(endpoint or "").hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refused(name: str, found: str) -> ServiceError:
    return ServiceError(
        f"bucket {name!r} cannot be made",
        found=found,
        remedy="Check the S3 settings (endpoint, keys), and that the name is one that S3 allows.",
    )
