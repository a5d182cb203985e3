"""How PyIceberg reaches files on S3: the same Arrow file system, with fewer requests.

Where files lie and what is in them does not belong here. PyIceberg loads `LakeFileIO` by the name that `PROPERTY` has.
"""

from __future__ import annotations

from functools import lru_cache

from pyarrow.fs import FileSystem
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO
from typing_extensions import override

PROPERTY = "py-io-impl"
CLASS = "lakehouse.iceberg.catalogs.files.LakeFileIO"


class LakeFileIO(PyArrowFileIO):
    """PyIceberg's own, apart from three things that cost requests.

    A small file is one PUT, not the three of a multipart upload. Nobody asks whether a new file is there already: every
    name has a UUID in it. Clients of S3, and their connections, are shared by all tables of a process.
    """

    @override
    def new_output(self, location: str) -> PyArrowFile:
        """A file to be written."""
        scheme, bucket, path = self.parse_location(location, self.properties)
        return _NewFile(location, path, self.fs_by_scheme(scheme, bucket))

    @override
    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        named = ("s3.", "client.")
        given = tuple(sorted((key, value) for key, value in self.properties.items() if key.startswith(named)))
        return _s3(given, netloc)


class _NewFile(PyArrowFile):
    """A file under a name that nobody else uses."""

    @override
    def create(self, overwrite: bool = False) -> OutputStream:
        """A stream to write to; `overwrite` makes no difference."""
        return super().create(overwrite=True)


@lru_cache(maxsize=16)
def _s3(properties: tuple[tuple[str, str], ...], bucket: str | None) -> FileSystem:
    made = PyArrowFileIO(dict(properties))._initialize_s3_fs(bucket)  # noqa: SLF001  (the one place that knows all the options)
    rebuild, (options,) = made.__reduce__()
    # The one option of Arrow's that PyIceberg does not pass on: a file opens when its first bytes go out.
    return rebuild({**options, "allow_delayed_open": True})
