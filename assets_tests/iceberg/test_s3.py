"""Files on S3: how many requests a write makes, and what it does when one of them is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

from bench.proxy import HONEST, Fault, Proxy, Request
from lakehouse.errors import CatalogError
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.settings import Settings
from lakehouse.tables import Table

Rows = Callable[..., pa.Table]
Ids = Callable[..., list[int]]

PUTS = 4  # the data file, its manifest, the list of manifests, the metadata
GETS = (
    7  # length and footer of the data file, length and content of the metadata and of the list, the manifest's length
)


@pytest.fixture(
    params=[
        "moto",
        pytest.param("minio", marks=pytest.mark.services),
        pytest.param("versitygw", marks=pytest.mark.services),
    ]
)
def straight(request: pytest.FixtureRequest, place: Callable[[str, str], Settings]) -> Settings:
    return place("sqlite", request.param)


@pytest.fixture
def proxy(straight: Settings) -> Iterator[Proxy]:
    assert straight.s3.endpoint is not None
    with Proxy(straight.s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def bent(straight: Settings, proxy: Proxy, flat: Table, rows: Rows) -> LakeTable:
    """A table with one row, on the way through the proxy."""
    s3 = straight.s3.model_copy(update={"endpoint": proxy.url})
    table = Lake.open(straight.model_copy(update={"s3": s3})).create(flat)
    table.append(rows([0]), run_key="before")
    return table


def test_a_small_append_makes_few_requests(bent: LakeTable, proxy: Proxy, rows: Rows) -> None:
    for number in range(3):
        proxy.seen.clear()
        bent.append(rows([number]), run_key=str(number), progress={"shop": {"w": number}})
        counts = proxy.counts()
        asked = "\n".join(f"{request.method} {request.path}" for request in proxy.seen)
        assert counts["PUT"] + counts["POST"] <= PUTS, asked
        assert counts["GET"] + counts["HEAD"] + counts["LIST"] <= GETS, asked
        assert counts["PUT"] > 0


KINDS = {"data file": ".parquet", "manifest": "-m0.avro", "list of manifests": "/snap-", "metadata": ".metadata.json"}


def puts_of(kind: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and KINDS[kind] in request.path


@pytest.mark.parametrize("fault", [Fault(deliveries=0, status=503), Fault(status=500), Fault(silent=True)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_refused_once_is_written_again(  # noqa: PLR0913, PLR0917  (two parameters of the case, four fixtures)
    bent: LakeTable, proxy: Proxy, rows: Rows, ids: Ids, kind: str, fault: Fault
) -> None:
    struck: list[Request] = []

    def judge(request: Request) -> Fault:
        if struck or not puts_of(kind)(request):
            return HONEST
        struck.append(request)
        return fault

    proxy.judge = judge
    assert bent.append(rows([1, 2]), run_key="a").rows_added == 2
    assert struck
    assert ids(bent) == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_refused_for_good_is_an_error_and_changes_nothing(
    bent: LakeTable, proxy: Proxy, rows: Rows, ids: Ids, kind: str
) -> None:
    # A 400 is not worth another attempt: Arrow gives up at once.
    proxy.judge = lambda request: Fault(deliveries=0, status=400) if puts_of(kind)(request) else HONEST
    with pytest.raises(CatalogError):
        bent.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}})
    proxy.judge = lambda _request: HONEST
    assert (ids(bent), bent.progress("shop"), len(bent.snapshots())) == ([0], None, 1)
    assert not bent.append(rows([1, 2]), run_key="a", progress={"shop": {"w": 1}}).already_done
    assert (ids(bent), bent.progress("shop"), len(bent.snapshots())) == ([0, 1, 2], {"w": 1}, 2)
