"""A boto3 client of the mock S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from lakehouse.settings import S3, Settings
from lakehouse.storage.open import s3_client

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@pytest.fixture
def on_s3(settings: Settings, s3: S3) -> Settings:
    """Settings whose S3 is the mock server."""
    return settings.model_copy(update={"s3": s3})


@pytest.fixture
def client(on_s3: Settings) -> Iterator[S3Client]:
    made = s3_client(on_s3)
    yield made
    made.close()
