"""Mutants: each switches one guard off, and a named test must notice.

Run as `make mutants` (`python assets_tests/faults/mutate.py [NAME ...]`). Works on copies of the project, one a core.
First the named tests run on the code as it is, for a test that fails anyway notices nothing. A mutant that no test
kills is a guard that nothing guards: exit code 1. What the mutants are stands in `mutants/*.toml`; that they still fit
the code is `test_mutants.py`.
"""

from __future__ import annotations

import compileall
import gc
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).parent / "mutants"
_FAILED = 1
"""pytest's exit code for tests that ran and failed; any other says that the mutant broke more than its guard."""
_PATIENCE_S = 300
_LIBRARIES = (
    "_hypothesis_pytestplugin",
    "anyio.pytest_plugin",
    "boto3",
    "duckdb",
    "hypothesis",
    "moto.server",
    "psycopg",
    "pyarrow.dataset",
    "pydantic_settings",
    "pyiceberg.catalog.rest",
    "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow",
    "structlog",
    "xdist.plugin",
)
"""What every test imports, of others: imported once, and there in each process that is forked from this one."""


@dataclass(frozen=True)
class Mutant:
    """One guard switched off: `old` becomes `new` in `file`, and the pytest node `test` must fail."""

    name: str
    guards: str
    file: str
    old: str
    new: str
    test: str

    @property
    def fits(self) -> bool:
        """Whether the code still has the guard, in exactly one place."""
        return (ROOT / self.file).read_text(encoding="utf-8").count(self.old) == 1


@dataclass(frozen=True)
class Attempt:
    """Tests that run in a process of their own, on a copy of the project, with one mutant applied or none."""

    mutant: Mutant | None
    tests: tuple[str, ...]
    copy: Path
    started: float

    def apply(self, number: int) -> None:
        """Switch the guard off in the copy."""
        if self.mutant is not None:
            target = self.copy / self.mutant.file
            whole = target.read_text(encoding="utf-8")
            target.write_text(whole.replace(self.mutant.old, self.mutant.new), encoding="utf-8")
            # A time of its own: bytecode is known by the whole second of its source.
            os.utime(target, (number, number))

    def undo(self) -> None:
        """Bring the copy back to what it was, and to the time that its bytecode is of."""
        if self.mutant is not None:
            shutil.copy2(ROOT / self.mutant.file, self.copy / self.mutant.file)

    def judge(self, status: int, said: str) -> str | None:
        """None when the tests came out as they must; else what happened instead."""
        code = os.waitstatus_to_exitcode(status)
        if code == (0 if self.mutant is None else _FAILED):
            return None
        return f"{'the test passes' if code == 0 else f'pytest ended with {code}'}\n{said[-2000:]}"


def read_mutants(only: Sequence[str] = ()) -> Iterator[Mutant]:
    """All mutants, or those named, in the order of their files."""
    for file in sorted(MUTANTS.glob("*.toml")):
        for name, fields in tomllib.loads(file.read_text(encoding="utf-8")).items():
            if not only or name in only:
                yield Mutant(name=name, **fields)


def _copy_project(to: Path) -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    compileall.compile_dir(to / "lakehouse", quiet=2)


def _fork(attempt: Attempt) -> int:
    """Run the tests in a child that has the libraries already; its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with (attempt.copy / "said").open("w") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        # A mutant that never ends is told, not waited for.
        signal.alarm(_PATIENCE_S)
        os.chdir(attempt.copy)
        sys.path.insert(0, str(attempt.copy))
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        base = attempt.copy.with_name(f"{attempt.copy.name}-tests")
        # Plain: rewritten asserts say more, and take longer than the test.
        options = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--assert=plain", f"--basetemp={base}"]
        code = int(importlib.import_module("pytest").main([*options, *attempt.tests]))
    except BaseException:  # noqa: BLE001  (said, and told by the exit code)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the parent's own way out is not this process's


def _run(
    jobs: Iterable[tuple[Mutant | None, tuple[str, ...]]], copies: Sequence[Path]
) -> Iterator[tuple[Attempt, str | None]]:
    """Each job in a copy that is free; what became of it, in the order in which they end."""
    waiting, free, running = list(jobs), list(copies), dict[int, Attempt]()
    for number in range(1, len(waiting) * 2 + 1):
        if waiting and free:
            mutant, tests = waiting.pop(0)
            attempt = Attempt(mutant, tests, free.pop(), time.monotonic())
            attempt.apply(number)
            running[_fork(attempt)] = attempt
            continue
        child, status = os.wait()
        done = running.pop(child)
        done.undo()
        free.append(done.copy)
        yield done, done.judge(status, (done.copy / "said").read_text(encoding="utf-8", errors="replace"))


def main(only: Sequence[str]) -> int:
    """Apply every mutant; print what became of each."""
    began = time.monotonic()
    mutants = list(read_mutants(only))
    for unfit in [mutant for mutant in mutants if not mutant.fits]:
        print(f"{unfit.name}: its guard is not in the code")
        return 1
    for name in _LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / f"project{number}" for number in range(os.cpu_count() or 1)]
        for copy in copies:
            _copy_project(copy)
        files: dict[str, list[str]] = {}
        for test in sorted({mutant.test for mutant in mutants}):
            files.setdefault(test.partition("::")[0], []).append(test)
        for attempt, said in _run([(None, tuple(tests)) for tests in files.values()], copies):
            if said is not None:
                print(f"fails without any mutant: {' '.join(attempt.tests)}: {said}")
                return 1
        print(f"{sum(map(len, files.values()))} named tests pass ({time.monotonic() - began:.0f} s)", flush=True)
        outcomes = _run([(mutant, (mutant.test,)) for mutant in mutants], copies)
        for number, (attempt, said) in enumerate(outcomes, start=1):
            assert attempt.mutant is not None
            alive += said is not None
            outcome = "killed" if said is None else f"ALIVE: {said}"
            took = time.monotonic() - attempt.started
            print(f"{number}/{len(mutants)} {attempt.mutant.name}: {outcome} ({took:.0f} s)", flush=True)
    print(f"{len(mutants) - alive} of {len(mutants)} mutants killed ({time.monotonic() - began:.0f} s)")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
