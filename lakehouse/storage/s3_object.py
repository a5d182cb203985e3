"""An object on S3 as a file that can be read and sought in, by ranges of bytes. What an error means is the caller's."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from typing_extensions import Buffer

_BLOCK = 8 * 1024 * 1024
_ATTEMPTS = 5


class S3Object(io.RawIOBase):
    """Reads blocks of 8 MiB, each by a request of its own: a reader that is slow holds no connection open.

    All blocks are of one version of the object (If-Match), that of `etag` or of the first block: one that is replaced
    meanwhile is an error, not a mixture.
    The first block is read at once, so that an object that is not there is told when it is opened.
    `errors(what)` is entered around every request, to turn boto3's errors into the caller's.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        key: str,
        errors: Callable[[str], AbstractContextManager[None]],
        *,
        etag: str = "",
    ) -> None:
        super().__init__()
        self._client, self._bucket, self._key, self._errors = client, bucket, key, errors
        self._etag = etag
        self._size = 0
        self._position = 0
        self._start = 0
        self._block = b""
        self._fetch(0)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go elsewhere; nothing is read yet."""
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, begin + offset)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill a part of the buffer; 0 at the end."""
        if self._position >= self._size:
            return 0
        if not self._start <= self._position < self._start + len(self._block):
            self._fetch(self._position)
        into = memoryview(buffer).cast("B")
        begin = self._position - self._start
        part = self._block[begin : begin + len(into)]
        into[: len(part)] = part
        self._position += len(part)
        return len(part)

    def _fetch(self, start: int) -> None:
        with self._errors(f"s3://{self._bucket}/{self._key}"):
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    self._block = self._get(start)
                    break
                except (HTTPClientError, IncompleteReadError):
                    # boto3 repeats requests, but not the reading of an answer that breaks off.
                    if attempt == _ATTEMPTS:
                        raise
        self._start = start

    def _get(self, start: int) -> bytes:
        span = f"bytes={start}-{start + _BLOCK - 1}"
        get = partial(self._client.get_object, Bucket=self._bucket, Key=self._key, Range=span)
        try:
            answer = get(IfMatch=self._etag) if self._etag else get()
        except ClientError as error:
            # An empty object has no first byte.
            if start == 0 and error.response.get("Error", {}).get("Code") in {"InvalidRange", "416"}:
                return b""
            raise
        # Not `with answer["Body"]`: that gives out urllib3's own stream, and its errors.
        with closing(answer["Body"]) as body:
            block = body.read()
        self._etag = answer["ETag"]
        self._size = int(answer["ContentRange"].rpartition("/")[2])
        return block
