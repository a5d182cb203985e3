"""A store that is a prefix of an S3 bucket, through a boto3 client that the caller made.

Credentials, endpoints and retries of requests are the client's and do not belong here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from lakehouse.errors import SourceChanged, SourceError, SourceRefused, SourceUnreachable
from lakehouse.storage.paths import normalise
from lakehouse.storage.s3_object import S3Object
from lakehouse.storage.store import Deleted, StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_A_REQUEST = 1000
"""Keys that one DeleteObjects takes."""
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}
_GONE = {"NoSuchKey", "404"}
_CHANGED = {"PreconditionFailed", "412"}


class S3Store:
    """Objects below `root` (`s3://bucket/prefix`). Names that begin with a dot are others' business, as in a folder."""

    def __init__(self, client: S3Client, root: str) -> None:
        self._client = client
        self._root = normalise(root)
        self._bucket, _, prefix = self._root.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix}/" if prefix else ""

    @property
    def root(self) -> str:
        """Bucket and prefix, as an `s3://` address."""
        return self._root

    def list(self, prefix: str = "", *, deep: bool = True) -> Iterator[StoredObject]:
        """Every object whose relative path begins with `prefix`, by path. Raises SourceUnreachable, SourceRefused.

        A prefix without objects is an empty folder, for S3 knows no folders; a bucket that is not there is an error.
        """
        for seen in self._objects(prefix, "" if deep else "/"):
            if not any(part.startswith(".") for part in seen.path.split("/")):
                yield seen

    def walk(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every object, hidden names too, a page of a thousand at a time. Raises SourceUnreachable, SourceRefused."""
        return self._objects(prefix)

    def open(self, path: str, *, version: int | str | None = None) -> BufferedReader:
        """The object's bytes, a block at a time. Raises SourceChanged, SourceRefused, SourceUnreachable."""
        etag = "" if version is None else f'"{version}"'
        return BufferedReader(S3Object(self._client, self._bucket, self._prefix + path, s3_errors, etag=etag))

    def put(self, path: str, content: bytes) -> None:
        """Write an object in one request. Raises SourceRefused, SourceUnreachable."""
        with s3_errors(f"{self._root}/{path}"):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + path, Body=content)

    def delete(self, paths: Iterable[str]) -> Deleted:
        """Delete objects, a thousand a request. Raises SourceRefused, SourceUnreachable when a request fails whole."""
        count = missing = 0
        reason, failed = "", list[str]()
        waiting = iter(paths)
        while batch := list(islice(waiting, _A_REQUEST)):
            with s3_errors(self._root):
                answer = self._client.delete_objects(
                    Bucket=self._bucket,
                    Delete={"Objects": [{"Key": self._prefix + path} for path in batch], "Quiet": True},
                )
            errors = answer.get("Errors", [])
            gone = [error for error in errors if error.get("Code") in _GONE]
            refused = [error for error in errors if error.get("Code") not in _GONE]
            if refused:
                reason = f"{refused[0].get('Code')}: {refused[0].get('Message')}"
            failed += (error["Key"].removeprefix(self._prefix) for error in refused)
            missing += len(gone)
            count += len(batch) - len(errors)
        return Deleted(count, missing, tuple(failed), reason)

    def _objects(self, prefix: str, delimiter: str = "") -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix, Delimiter=delimiter
        )
        with s3_errors(self._root):
            for page in pages:
                for item in page.get("Contents", ()):
                    path = item["Key"].removeprefix(self._prefix)
                    # A key that ends in a slash is what some tools leave behind for a folder.
                    if path and not path.endswith("/"):
                        yield StoredObject(path, item["Size"], item["LastModified"], item["ETag"].strip('"'))


@contextmanager
def s3_errors(what: str) -> Iterator[None]:
    """Turn what boto3 raises into our errors, about `what`. Raises SourceChanged, SourceRefused, SourceUnreachable."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise _error(error, what) from error


def _error(error: ClientError | BotoCoreError, what: str) -> SourceError:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    if code in _DENIED:
        return SourceRefused(f"S3 denies access to {what} ({code})", remedy="Check the keys and the bucket's policy.")
    if code in _GONE:
        return SourceChanged(f"{what} is not there any more", remedy="Deliver the object again.")
    if code in _CHANGED:
        return SourceChanged(f"{what} was replaced while it was read", remedy="Load again.")
    found = code or type(error).__name__
    return SourceUnreachable(
        f"{what} cannot be reached", found=found, remedy="Check the endpoint and the bucket's name."
    )
