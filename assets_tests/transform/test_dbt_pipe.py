"""Questions of dbt's process and their answers; and what is left when one end of the pipes dies."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import pytest

from lakehouse.contracts import read_tables
from lakehouse.errors import TransformError
from lakehouse.iceberg import Lake
from lakehouse.quality.finding import Finding
from lakehouse.quality.gate import Gate
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import TableName
from lakehouse.transform.dbt_process import Request
from lakehouse.transform.events import Event
from lakehouse.transform.project import parse
from lakehouse.transform.run import build

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120
ASKING = """
import os
from concurrent.futures import ThreadPoolExecutor
from lakehouse.transform.dbt_parent import Parent

parent = Parent.of_this_process()
request = parent.request()
print("whatever a library prints")
with ThreadPoolExecutor(2) as threads:
    for answer in threads.map(parent.ask, request.arguments):
        parent.tell(dict(answer))
os._exit(0)
"""
DYING = """
import os, signal, sys
from pathlib import Path
from lakehouse.contracts import read_tables
from lakehouse.iceberg import Lake
from lakehouse.quality.gate import Gate
from lakehouse.settings import load_settings
from lakehouse.transform.run import build

class Dying(Gate):
    def warm(self):
        pass
    def audit(self, name, *, at="main", rules=None):
        os.kill(os.getpid(), signal.SIGKILL)

folder, state = sys.argv[1:]
settings = load_settings(Path(folder), state=state, catalog={"uri": f"sqlite:///{state}/catalog.db"})
gate = Dying(settings, Lake.open(settings), read_tables(settings.defs))
list(build(settings, select=["gold.dim_date"], branch="run/2", run_key="2", gate=gate))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, copy_project: Callable[[Path], Settings]) -> Settings:
    settings = copy_project(tmp_path_factory.mktemp("project"))
    parse(settings)
    return settings


def asking(*nodes: str) -> subprocess.Popen[str]:
    """A process that asks about these nodes at once, from two threads."""
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert process.stdin is not None
    process.stdin.write(Request(load_settings(ROOT), nodes).to_json() + "\n")
    process.stdin.flush()
    return process


def working_in(folder: Path) -> list[int]:
    """The processes of dbt's that work in a folder."""
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It ended in this moment, or is none of ours.
            if b"lakehouse.transform" in (process / "cmdline").read_bytes() and (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def test_each_thread_gets_the_answer_to_its_own_question() -> None:
    process = asking("test.a", "test.b")
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {json.loads(process.stdout.readline())["ask"] for _ in range(2)}
    assert asked == {"test.a", "test.b"}
    for node in ("test.b", "test.a"):
        process.stdin.write(json.dumps({"id": node, "broken": len(node)}) + "\n")
        process.stdin.flush()

    assert [json.loads(process.stdout.readline())["id"] for _ in range(2)] == ["test.a", "test.b"]
    assert process.wait(PATIENCE_S) == 0
    process.stdin.close()
    process.stdout.close()


def test_a_process_whose_parent_is_gone_waits_for_no_answer() -> None:
    process = asking("test.a")
    assert process.stdin is not None
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"ask": "test.a"}

    process.stdin.close()

    assert process.wait(PATIENCE_S) == 1
    process.stdout.close()


class Deadly(Gate):
    """A gate that kills dbt while it waits for the answer."""

    def warm(self) -> None:
        """Nothing will be judged."""

    def audit(
        self,
        name: TableName,  # noqa: ARG002  (as Gate says it)
        *,
        at: str = "main",  # noqa: ARG002  (as Gate says it)
        rules: Collection[str] | None = None,  # noqa: ARG002  (as Gate says it)
    ) -> tuple[Finding, ...]:
        for process in working_in(self._settings.project):
            os.kill(process, signal.SIGKILL)
        return ()


def test_a_dbt_that_dies_while_it_waits_is_an_error_and_nobody_hangs(shop: Settings) -> None:
    lake = Lake.open(shop)
    events: list[Event] = []

    with pytest.raises(TransformError, match="ended without a report"):
        events.extend(
            build(
                shop,
                select=["gold.dim_date"],
                branch="run/1",
                run_key="1",
                gate=Deadly(shop, lake, read_tables(shop.defs)),
            )
        )

    assert lake.table(TableName.parse("gold.dim_date")).stats().rows == 0
    assert not working_in(shop.project)


def test_dbt_ends_when_who_started_it_is_killed(shop: Settings, tmp_path: Path) -> None:
    words = [sys.executable, "-c", DYING, str(shop.project), str(shop.state)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, cwd=tmp_path, env=environment) as parent:
        assert parent.wait(PATIENCE_S) == -signal.SIGKILL

    for process in working_in(shop.project):
        try:
            watched = os.pidfd_open(process)
        except ProcessLookupError:
            continue  # It has ended already.
        ended, _, _ = select.select([watched], [], [], PATIENCE_S)
        os.close(watched)
        assert ended
    assert not working_in(shop.project)


def test_giving_up_ends_dbt(shop: Settings) -> None:
    events = build(shop, branch="run/3", run_key="3")
    next(events)
    assert working_in(shop.project)

    events.close()

    assert not working_in(shop.project)


def test_old_runs_make_room(shop: Settings) -> None:
    runs = shop.state / "dbt" / "runs"
    for number in range(25):
        (runs / f"old-{number}").mkdir()
    events = build(shop, select=["gold.dim_date"], branch="run/4", run_key="4")
    next(events)
    events.close()

    assert len(list(runs.iterdir())) <= 21
