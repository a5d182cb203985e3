"""Mutants: each switches one guard off, and a named test must notice.

Run as `make mutants` (`python assets_tests/faults/mutate.py [NAME ...]`). Works on a copy of the project, one mutant at
a time. A mutant that no test kills is a guard that nothing guards: exit code 1. What the mutants are stands in
`mutants/*.toml`; that they still fit the code is `test_mutants.py`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).parent / "mutants"
_FAILED = 1
"""pytest's exit code for tests that ran and failed; any other says that the mutant broke more than its guard."""


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


def read_mutants(only: Sequence[str] = ()) -> Iterator[Mutant]:
    """All mutants, or those named, in the order of their files."""
    for file in sorted(MUTANTS.glob("*.toml")):
        for name, fields in tomllib.loads(file.read_text(encoding="utf-8")).items():
            if not only or name in only:
                yield Mutant(name=name, **fields)


def survives(mutant: Mutant, copy: Path) -> str | None:
    """None when the named test fails as it must; else what happened instead."""
    target = copy / mutant.file
    whole = target.read_text(encoding="utf-8")
    target.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", mutant.test]
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    finally:
        target.write_text(whole, encoding="utf-8")
    if done.returncode == _FAILED:
        return None
    said = "the test passes" if done.returncode == 0 else f"pytest ended with {done.returncode}"
    return f"{said}\n{done.stdout[-2000:]}"


def main(only: Sequence[str]) -> int:
    """Apply every mutant; print what became of each."""
    mutants = list(read_mutants(only))
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, tracked.stdout.split("\0")):
            if (ROOT / name).is_file():
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name)
        for number, mutant in enumerate(mutants, start=1):
            started = time.monotonic()
            said = survives(mutant, copy) if mutant.fits else "its guard is not in the code"
            alive += said is not None
            outcome = "killed" if said is None else f"ALIVE: {said}"
            print(f"{number}/{len(mutants)} {mutant.name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"{len(mutants) - alive} of {len(mutants)} mutants killed")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
