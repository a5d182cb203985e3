"""Buckets, and the one client: by path, past the environment's proxy on loopback, refusals in our words."""

from __future__ import annotations

import pytest
from botocore.exceptions import ProxyConnectionError
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.services.buckets import client, make_buckets
from lakehouse.settings import S3

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment whose proxy does not answer."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("proxied")
def test_buckets_are_made_once_and_past_the_proxy_of_the_environment(s3: S3) -> None:
    for _ in range(2):
        make_buckets(s3, ["past-a-proxy"])
    found = client(s3)
    assert "past-a-proxy" in {bucket.get("Name") for bucket in found.list_buckets()["Buckets"]}
    found.close()


@pytest.mark.usefixtures("proxied")
def test_elsewhere_the_proxy_of_the_environment_is_taken() -> None:
    far = S3(endpoint="http://s3.example.com", access_key=SecretStr("k"), secret_key=SecretStr("s"), timeout_s=0.5)
    found = client(far)
    with pytest.raises(ProxyConnectionError):
        found.list_buckets()
    found.close()


def test_a_server_with_a_name_is_asked_by_path(s3: S3) -> None:
    named = s3.model_copy(update={"endpoint": str(s3.endpoint).replace("127.0.0.1", "localhost")})
    make_buckets(named, ["by-path"])
    found = client(named)
    address = found.generate_presigned_url("get_object", Params={"Bucket": "by-path", "Key": "x"})
    assert address.startswith(f"{named.endpoint}/by-path/x?")
    found.close()


def test_a_bucket_that_cannot_be_made_is_named_with_the_remedy(s3: S3) -> None:
    with pytest.raises(ServiceError, match="bucket 'no' cannot be made") as caught:
        make_buckets(s3, ["no"])
    assert "S3 settings" in caught.value.remedy
    assert s3.secret_key is not None
    assert s3.secret_key.get_secret_value() not in str(caught.value)
