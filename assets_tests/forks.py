"""Python programs as processes of their own, forked from one that has imported the lake: the second and a half that
imports take is spent once for all of them.

What measures its own memory, or what it imports, does not belong here: a forked process begins with its parent's.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["lakehouse.iceberg", __name__])
PATIENCE_S = 120


class Fork:
    """`python -c program words...`, with its stdin and stdout piped as text; its stderr is the file `said`."""

    def __init__(self, program: str, words: Sequence[object], said: Path) -> None:
        theirs_in, ours_in = Pipe(duplex=False)
        ours_out, theirs_out = Pipe(duplex=False)
        self._said = said
        given = (program, [str(word) for word in words], theirs_in, theirs_out, str(said))
        self.process = _FORKS.Process(target=_run, args=given, daemon=True)
        with theirs_in, theirs_out, ours_in, ours_out:
            self.process.start()
            self.stdin = os.fdopen(os.dup(ours_in.fileno()), "w")
            self.stdout = os.fdopen(os.dup(ours_out.fileno()))

    @property
    def stderr(self) -> str:
        """What it has said there so far."""
        return self._said.read_text(encoding="utf-8") if self._said.exists() else ""

    def line(self) -> str:
        """Its next line, awaited; empty when it ends without one."""
        return self.stdout.readline().rstrip("\n")

    def go(self) -> None:
        """End the line that it waits for."""
        self.stdin.write("\n")
        self.stdin.flush()

    def rest(self) -> list[str]:
        """Wait until it ends, well; the lines that it has said since. Raises AssertionError where it fails."""
        lines = self.stdout.read().splitlines()
        self.process.join(PATIENCE_S)
        assert self.process.exitcode == 0, f"exit code {self.process.exitcode}\n{self.stderr}"
        return lines

    def kill(self) -> None:
        """By SIGKILL, unless it has ended; it is gone afterwards."""
        self.process.kill()
        self.process.join(PATIENCE_S)

    def close(self) -> None:
        """However it went, no process and no pipe stays behind."""
        self.kill()
        self.stdin.close()
        self.stdout.close()
        self.process.close()


def _run(program: str, words: list[str], stdin: Connection, stdout: Connection, said: str) -> None:
    """In the new process: be what `python -c` would be."""
    with Path(said).open("w", encoding="utf-8") as errors:
        for file, number in ((stdin, 0), (stdout, 1), (errors, 2)):
            os.dup2(file.fileno(), number)
    stdin.close()
    stdout.close()
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115  (as they are)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115  (the same)
    sys.argv = ["-c", *words]
    exec(compile(program, "<forked>", "exec"), {"__name__": "__main__"})  # noqa: S102  (the test's own program)
