"""The store that a setting names, and the boto3 client for it. What is in a store does not belong here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakehouse.services import buckets
from lakehouse.services.endpoints import s3_endpoint
from lakehouse.settings import Settings
from lakehouse.storage.folder import FolderStore
from lakehouse.storage.paths import from_uri, is_s3, local_path

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from lakehouse.storage.s3 import S3Store


def open_store(settings: Settings, root: str, client: S3Client | None = None) -> FolderStore | S3Store:
    """The store at `root`: `s3://bucket/prefix`, a folder, or a path relative to the state folder.

    On S3 through `client`, or one made from the settings. Nothing is asked of a server yet. Raises SettingsError for
    another kind of place, ServiceError when the S3 server is the project's own and does not start.
    """
    if "://" not in root:
        return FolderStore(settings.state / root)
    place = from_uri(root)
    if not is_s3(place):
        return FolderStore(local_path(place))
    from lakehouse.storage.s3 import S3Store  # noqa: PLC0415  (botocore, which only those on S3 need)

    return S3Store(client or s3_client(settings), place)


def s3_client(settings: Settings) -> S3Client:
    """A client for the S3 of the settings; close it when many are made. Starts the server that is the project's own."""
    return buckets.client(s3_endpoint(settings))
