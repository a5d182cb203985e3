"""Small commits: requests per append on S3, and milliseconds on each catalog and storage, beside stock PyIceberg.

Requests are counted by a proxy in front of a mock of S3: how many there are does not depend on the server. Times are
straight ones, on each server that is installed (`lakehouse service install`); a server that is not is left out.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
from moto.server import ThreadedMotoServer
from pydantic import SecretStr
from pyiceberg.catalog import Catalog as IcebergCatalog
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table as IcebergTable

from bench.proxy import Proxy
from bench.report import report
from lakehouse.iceberg import Lake, LakeTable
from lakehouse.services import process
from lakehouse.services.buckets import make_buckets
from lakehouse.services.postgres import EmbeddedPostgres
from lakehouse.services.servers import ServerKind, cache_folder, installed, rest_catalog_spec, s3_spec
from lakehouse.services.status import ServiceSpec
from lakehouse.settings import S3, Settings, load_settings
from lakehouse.tables import Column, Layer, Table, TableName

_BUCKET = "lake"
_KEYS = {"access_key": SecretStr("lake"), "secret_key": SecretStr("lake-secret")}
_SCHEMA = pa.schema([pa.field("id", pa.int64()), pa.field("note", pa.string())])
_COLUMNS = (Column("id", "long"), Column("note", "string"))
_WRITES, _READS = ("PUT", "POST"), ("GET", "HEAD", "LIST")


def rows(number: int) -> pa.Table:
    """A hundred rows."""
    return pa.table({"id": range(number * 100, number * 100 + 100), "note": ["x"] * 100}, schema=_SCHEMA)


def ours(settings: Settings) -> LakeTable:
    """A new table of ours."""
    name = TableName(Layer.SILVER, f"ours_{uuid.uuid4().hex[:8]}")
    return Lake.open(settings).create(Table(name, "bench", "benchmark", _COLUMNS, Path(__file__)))


def stock(settings: Settings) -> IcebergTable:
    """A new table of PyIceberg's, in the same catalog and on the same storage."""
    catalog = stock_catalog(settings)
    catalog.create_namespace_if_not_exists("stock")
    return catalog.create_table(f"stock.theirs_{uuid.uuid4().hex[:8]}", schema=_SCHEMA)


def stock_catalog(settings: Settings) -> IcebergCatalog:
    """PyIceberg's catalog as anybody would open it."""
    uri, s3 = settings.catalog.uri.get_secret_value(), settings.s3
    properties = {"type": "rest" if uri.startswith("http") else "sql", "uri": uri, "warehouse": settings.warehouse}
    if s3.endpoint is not None and s3.access_key is not None and s3.secret_key is not None:
        properties |= {"s3.endpoint": s3.endpoint, "s3.region": s3.region}
        properties |= {"s3.access-key-id": s3.access_key.get_secret_value()}
        properties |= {"s3.secret-access-key": s3.secret_key.get_secret_value()}
    return load_catalog("stock", **properties)


def counted(proxy: Proxy, append: Callable[[int], object]) -> Counter[str]:
    """The requests of one append to a table that has several already."""
    for number in range(3):
        append(number)
    proxy.seen.clear()
    append(3)
    return proxy.counts()


def commit_ms(settings: Settings, commits: int) -> tuple[float, float]:
    """Medians of ours and theirs, in milliseconds a commit, in turn; a few first ones are not counted."""
    table, peer = ours(settings), stock(settings)
    mine: list[float] = []
    other: list[float] = []
    for number in range(commits + 3):
        mine.append(_ms(lambda n=number: table.append(rows(n), run_key=str(n), progress={"bench": {"n": n}})))
        other.append(_ms(lambda n=number: peer.append(rows(n))))
    return statistics.median(mine[3:]), statistics.median(other[3:])


def requests(state: Path) -> dict[str, float]:
    """Requests of one small append, ours and stock PyIceberg's."""
    with mock_of_s3() as s3, Proxy(s3.endpoint or "") as proxy:
        here = on_s3(sqlite(state), s3.model_copy(update={"endpoint": proxy.url}))
        table, peer = ours(here), stock(here)
        mine = counted(proxy, lambda n: table.append(rows(n), run_key=str(n), progress={"bench": {"n": n}}))
        other = counted(proxy, lambda n: peer.append(rows(n)))
    return {
        "append_puts": float(sum(mine[kind] for kind in _WRITES)),
        "append_gets": float(sum(mine[kind] for kind in _READS)),
        "append_pyiceberg_puts": float(sum(other[kind] for kind in _WRITES)),
        "append_pyiceberg_gets": float(sum(other[kind] for kind in _READS)),
    }


def sqlite(state: Path) -> Settings:
    """A lake in a folder of its own."""
    return load_settings(Path.cwd(), state=str(state), catalog={"uri": f"sqlite:///{state}/catalog.db"})


def on_s3(settings: Settings, s3: S3) -> Settings:
    """The same on S3."""
    return settings.model_copy(update={"warehouse": f"s3://{_BUCKET}/{uuid.uuid4().hex}", "s3": s3})


@contextmanager
def mock_of_s3() -> Iterator[S3]:
    """Moto's server with a bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield _with_bucket(S3(endpoint=f"http://{host}:{port}", **_KEYS))
    finally:
        server.stop()


class Places:
    """Every catalog and storage that this machine has, started; stopped with the stack."""

    def __init__(self, state: Path, stack: ExitStack) -> None:
        self._state = state
        self._stack = stack
        self._cache = cache_folder(load_settings(Path.cwd()))

    def all(self) -> Iterator[tuple[str, Settings]]:
        """Name and settings of each."""
        base = sqlite(self._state)
        yield "sqlite", base
        postgres = EmbeddedPostgres(self._state / "postgres")
        self._stack.callback(postgres.remove)
        yield "postgres", self._catalog(base, postgres.uri("bench", driver="postgresql+psycopg").get_secret_value())
        if (home := installed(ServerKind.REST_CATALOG, self._cache)) is not None:
            warehouse = (self._state / "rest").as_uri()
            spec = rest_catalog_spec(home, self._state / "rest.db", warehouse, s3=None)
            yield "rest", self._catalog(base, self._start(spec)).model_copy(update={"warehouse": warehouse})
        for kind in (ServerKind.MINIO, ServerKind.VERSITYGW):
            if (home := installed(kind, self._cache)) is not None:
                endpoint = self._start(s3_spec(kind, home, self._state / kind, **_KEYS))
                yield kind.value, on_s3(base, _with_bucket(S3(endpoint=endpoint, **_KEYS)))

    def _start(self, spec: ServiceSpec) -> str:
        folder = self._state / "services"
        port = process.start(folder, spec).port
        self._stack.callback(process.stop, folder, spec.name)
        return f"http://127.0.0.1:{port}"

    def _catalog(self, settings: Settings, uri: str) -> Settings:
        return settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"uri": SecretStr(uri)})})


def _with_bucket(s3: S3) -> S3:
    make_buckets(s3, [_BUCKET])
    return s3


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commits", type=int, default=30)
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        state = Path(folder)
        figures, ratios = requests(state), {}
        for name, settings in Places(state, stack).all():
            mine, other = commit_ms(settings, words.commits)
            figures |= {f"commit_{name}_ms": mine, f"commit_{name}_pyiceberg_ms": other}
            ratios[f"commit_{name}_vs_pyiceberg"] = other / mine
    ratios["append_requests_vs_pyiceberg"] = (figures["append_pyiceberg_puts"] + figures["append_pyiceberg_gets"]) / (
        figures["append_puts"] + figures["append_gets"]
    )
    report("s3", figures, ratios, words.json)


if __name__ == "__main__":
    main()
