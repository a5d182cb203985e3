"""A Spark of our own in a process beside us, with an Iceberg JdbcCatalog on the catalog that a lake uses.

What Spark is asked does not belong here, nor how it is got (`spark_home.py`).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.spark_home import home
from bench.spark_jdbc import Jdbc, jdbc
from lakehouse.errors import ServiceError

_SCRIPT = Path(__file__).with_name("spark_statements.py")
_STOP_SECONDS = 30
_TAIL_LINES = 20


class Measured(float):
    """Wall seconds of one statement; its CPU seconds and peak MiB (Spark's Python and JVM), None where unknown."""

    cpu_s: float | None = None
    peak_mb: float | None = None


@dataclass(frozen=True)
class Answer:
    """A statement's rows, and what it took."""

    rows: list[dict[str, Any]]
    spent: Measured


class Spark:
    """A running Spark. Its tables are `<catalog>.<namespace>.<table>`."""

    def __init__(self, process: subprocess.Popen[str], log: Path, catalog: str) -> None:
        self._process = process
        self._log = log
        self.catalog = catalog

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Run one statement; its rows by column. Raises ServiceError with what Spark said."""
        return self.measured(statement).rows

    def measured(self, statement: str) -> Answer:
        """The same, with what it took."""
        if self._process.stdin is None or self._process.stdout is None:
            raise ServiceError("Spark was started without pipes", remedy="Start it by `spark_session`.")
        try:
            self._process.stdin.write(json.dumps({"sql": statement}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            said = "\n".join(self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
            raise ServiceError("Spark ended", found=said or "no word from it", remedy="Mend the cause, and try again.")
        answer = json.loads(line)
        if "error" in answer:
            raise ServiceError(f"Spark refuses {statement!r}", found=answer["error"], remedy="Mend the statement.")
        spent = Measured(answer["wall_s"])
        spent.cpu_s, spent.peak_mb = answer["cpu_s"], answer["peak_mb"]
        return Answer(answer["rows"], spent)


@contextmanager
def spark_session(catalog_uri: str, warehouse: str, catalog_name: str, *, memory_mb: int = 4096) -> Iterator[Spark]:
    """A Spark on two cores, up when it is answered, gone with the block.

    `catalog_uri` is SQLAlchemy's, `warehouse` a `file://` folder, `memory_mb` the JVM's largest heap. Raises
    ServiceError when Spark or Java is not there, or does not start.
    """
    installed = home()
    with jdbc(catalog_uri) as address, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        options = {
            "spark.jars": ",".join(str(jar) for jar in installed.jars),
            "spark.driver.memory": f"{memory_mb}m",
            "spark.local.dir": scratch,
            **_OPTIONS,
            **_catalog(catalog_name, address, warehouse),
        }
        (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
        # Whatever another Spark of this machine is told must not reach ours.
        command = ("/usr/bin/env", "-u", "SPARK_HOME", "-u", "SPARK_CONF_DIR", "SPARK_LOCAL_IP=127.0.0.1")
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(  # noqa: S603  (our own command)
                [*command, installed.python, _SCRIPT, folder / "options.json"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,
            ) as process,
        ):
            spark = Spark(process, folder / "log", catalog_name)
            try:
                spark.sql("select 1")
                yield spark
            finally:
                _stop(process)


_OPTIONS = {
    "spark.master": "local[2]",
    "spark.app.name": "peer",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.shuffle.partitions": "8",
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
}


def _catalog(name: str, address: Jdbc, warehouse: str) -> dict[str, str]:
    options = {
        "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
        "uri": address.uri,
        "warehouse": warehouse,
        # PyIceberg makes the catalog's tables in this form.
        "jdbc.schema-version": "V1",
        # Else it would go on showing a table for 30 s as it was.
        "cache-enabled": "false",
    }
    if address.user is not None:
        options |= {"jdbc.user": address.user, "jdbc.password": address.password or ""}
    prefix = f"spark.sql.catalog.{name}"
    return {prefix: "org.apache.iceberg.spark.SparkCatalog"} | {
        f"{prefix}.{key}": value for key, value in options.items()
    }


def _stop(process: subprocess.Popen[str]) -> None:
    if process.stdin is not None:
        # A Spark that has ended already does not take what is still to be written.
        with suppress(BrokenPipeError):
            process.stdin.close()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
