"""Processes of the operating system: start one that outlives us, recognise it later, ask it to end.

What belongs here: nothing but that, for Linux and macOS. What the processes are for does not.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from types import MappingProxyType

_PROC = Path("/proc")

# The shell's `&` makes the new process a child of init, so that it is never our zombie and never ends with us. Its
# input goes by way of descriptor 3, for a shell gives background commands an empty input. The first lines of it, up to
# an empty one, are variables of the environment: so no secret is a word of any command. Where `env` can, the request to
# end is heard again: who starts the process may ignore it, as Dagster does where Ctrl-C is ignored.
_DETACH = (
    'heard="env --default-signal=TERM"; $heard true 2>/dev/null || heard=; '
    'while IFS= read -r line && [ -n "$line" ]; do export "$line"; done; '
    'exec 3<&0; log=$1; shift; $heard "$@" <&3 3<&- >>"$log" 2>&1 & echo $!'
)


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the operating system that a process runs as."""

    uid: int
    gid: int


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the exclusive lock of a file; other processes and threads wait. Ends with the process, however it ends."""
    with file.open("a") as handle:
        flock(handle, LOCK_EX)
        yield


def run(command: Sequence[str | Path], account: Account | None = None) -> subprocess.CompletedProcess[str]:
    """Run to its end, from the root folder and without input; the output is text, errors included."""
    user, group, groups = _identity(account)
    return subprocess.run(  # noqa: S603  (commands are our own, a list and never a shell's line)
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        user=user,
        group=group,
        extra_groups=groups,
    )


def spawn(  # noqa: PLR0913  (what a process is started with, each given by name)
    command: Sequence[str | Path],
    log: Path,
    *,
    stdin: str = "",
    folder: Path = Path("/"),
    account: Account | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Start a process that outlives this one, its output appended to `log`; answers its process id.

    It belongs to a new session of the terminal, so that neither Ctrl-C nor the end of the terminal reaches it.
    `environment` is added to ours; a name or value must be one line.
    """
    user, group, groups = _identity(account)
    variables = "".join(f"{name}={value}\n" for name, value in environment.items())
    done = subprocess.run(  # noqa: S603  (the words reach the shell as arguments, not as text to parse)
        ["/bin/sh", "-c", _DETACH, "sh", str(log), *(str(part) for part in command)],
        input=f"{variables}\n{stdin}",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=folder,
        start_new_session=True,
        user=user,
        group=group,
        extra_groups=groups,
    )
    return int(done.stdout)


def _identity(account: Account | None) -> tuple[int | None, int | None, list[int] | None]:
    return (None, None, None) if account is None else (account.uid, account.gid, [])


def birth(pid: int) -> str | None:
    """What tells this process from a later one with the same id; None when it is not there, or only a zombie."""
    if _PROC.joinpath("self").exists():
        try:
            fields = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
            boot = _PROC.joinpath("sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        # The first thread of a process that was killed is a zombie while others still hold its files and ports.
        return None if fields[0] in "ZX" and int(fields[17]) <= 1 else f"{boot}/{fields[19]}"
    state, _, started = run(["/bin/ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]).stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()


def is_taken(pid: int) -> bool:
    """Whether any process has this id, dead ones that nobody has collected included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def command_line(pid: int) -> str:
    """The words that a process was started with, separated by blanks; empty when it is not there."""
    if _PROC.joinpath("self").exists():
        try:
            return _PROC.joinpath(str(pid), "cmdline").read_bytes().decode(errors="replace").replace("\0", " ").strip()
        except OSError:
            return ""
    return run(["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]).stdout.strip()


def end(pid: int, born: str, signals: Sequence[tuple[signal.Signals, float]]) -> bool:
    """Send one signal after another, each with the seconds to wait for it. True when the process is gone.

    Never reaches another process that got the same id: who it is, is asked before each signal.
    """
    for number, seconds in signals:
        if birth(pid) != born:
            return True
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return True
        deadline = time.monotonic() + seconds
        while birth(pid) == born and time.monotonic() < deadline:
            time.sleep(0.02)
    return birth(pid) != born
