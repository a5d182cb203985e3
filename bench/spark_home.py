"""Spark with Iceberg's runtime, got once into `.cache/spark`: a virtual environment of its own and three jars.

What is taken is pinned in `deploy/spark/`: Spark by hash (`requirements.lock`; `build.lock` is what builds it), the
jars by `pom.xml` and the fingerprint here. What Spark is asked to do does not belong here (`spark.py`).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import environment
from lakehouse.errors import ServiceError
from lakehouse.services.processes import locked
from lakehouse.services.servers.tools import tool, use

_ROOT = Path(__file__).resolve().parent.parent
_PINS = _ROOT / "deploy" / "spark"
_POM, _LOCK, _BUILD_LOCK = _PINS / "pom.xml", _PINS / "requirements.lock", _PINS / "build.lock"
_CACHE = _ROOT / ".cache" / "spark"
_JARS_CHECKSUM = "d007bcbe7f525581e93b056e1e407c059350cf7dfad432dd2f0546dcbd2f92ee"
"""SHA-256 over the lines of `sha256sum *.jar`."""
_UNFINISHED = ".unfinished-"


class SparkHome:
    """An installed Spark: the Python that has it, and its jars."""

    def __init__(self, folder: Path) -> None:
        self.python = folder / "venv" / "bin" / "python"
        self.jars = sorted((folder / "jars").glob("*.jar"))


def find() -> SparkHome | None:
    """The Spark that the pins ask for, None when it is not installed."""
    folder = _folder()
    return SparkHome(folder) if (folder / "jars").is_dir() else None


def home() -> SparkHome:
    """The installed Spark. Raises ServiceError when it, or the Java that it runs on, is not there."""
    tool("java", "Spark")
    found = find()
    if found is None:
        raise ServiceError(
            "Spark is not installed", expected=str(_folder()), remedy="Run `python -m bench.spark install`."
        )
    return found


def install(say: Callable[[str], None]) -> SparkHome:
    """The Spark that the pins ask for, got when it is not there: about a minute, one at a time over all processes.

    Raises ServiceError when a tool (Java, Maven, uv) is missing or fails, or the jars are not those that were pinned.
    """
    tool("java", "Spark")
    _CACHE.mkdir(parents=True, exist_ok=True)
    with locked(_CACHE / "lock"):
        return find() or _install(say)


def _install(say: Callable[[str], None]) -> SparkHome:
    folder, began = _folder(), time.monotonic()
    say(f"{folder.name}: fetching Spark and its jars, about a minute ...")
    # What a killed installation left; nobody else is at work, for we hold the lock.
    for left in (*_CACHE.glob(f"{_UNFINISHED}*"), folder):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=_CACHE))
    try:
        _jars(fresh / "jars")
        # An environment knows its own place, so it is made there; the jars come last and say that all is whole.
        environment.make(folder / "venv", _LOCK, build_lock=_BUILD_LOCK)
        (fresh / "jars").rename(folder / "jars")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    say(f"{folder.name}: ready after {time.monotonic() - began:.0f} s")
    return SparkHome(folder)


def _jars(into: Path) -> None:
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={into}"]
    use("mvn", ["-q", "-B", "-f", _POM, *goal], "fetching the jars of Spark")
    digest = hashlib.sha256()
    for file in sorted(into.glob("*.jar")):
        digest.update(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n".encode())
    if digest.hexdigest() != _JARS_CHECKSUM:
        raise ServiceError(
            "the jars of Spark are not those that were pinned",
            expected=_JARS_CHECKSUM,
            found=digest.hexdigest(),
            remedy="Do not use them. Find out why they changed; the pins are in deploy/spark and bench/spark_home.py.",
        )


def _folder() -> Path:
    """By version: other pins, or another Python, are another installation."""
    spark = next(line for line in _LOCK.read_text(encoding="utf-8").split() if line.startswith("pyspark=="))
    return _CACHE / f"{spark.removeprefix('pyspark==')}-{environment.version(_POM, _LOCK, _BUILD_LOCK)}"
