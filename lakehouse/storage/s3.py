"""A store that is a prefix of an S3 bucket, through a boto3 client that the caller made.

Credentials, endpoints and retries are the client's and do not belong here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.errors import SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.storage.paths import normalise
from lakehouse.storage.store import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_GONE = {"NoSuchKey", "404"}


class S3Store:
    """Objects below `root` (`s3://bucket/prefix`)."""

    def __init__(self, client: S3Client, root: str) -> None:
        self._client = client
        self._root = normalise(root)
        self._bucket, _, prefix = self._root.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object whose relative path begins with `prefix`, by path. Raises SourceUnreachable, SourceRefused."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        try:
            for page in pages:
                for item in page.get("Contents", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    if path and not path.endswith("/"):
                        yield StoredObject(path, item["Size"], item["LastModified"], item["ETag"].strip('"'))
        except (ClientError, BotoCoreError) as error:
            raise self._error(error, self._root) from error

    def open(self, path: str) -> BinaryIO:
        """The object's bytes, streamed. Raises SourceChanged when it is gone, SourceRefused, SourceUnreachable."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)
        except (ClientError, BotoCoreError) as error:
            raise self._error(error, f"{self._root}/{path}") from error
        return cast("BinaryIO", answer["Body"])

    def _error(self, error: ClientError | BotoCoreError, what: str) -> SourceError:
        code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
        if code in _DENIED:
            return SourceRefused(
                f"S3 denies access to {what} ({code})", remedy="Check the keys and the bucket's policy."
            )
        if code in _GONE:
            return SourceChanged(f"{what} is not there any more", remedy="Deliver the object again.")
        found = code or type(error).__name__
        return SourceUnreachable(
            f"{what} cannot be read", found=found, remedy="Check the endpoint and the bucket's name."
        )
