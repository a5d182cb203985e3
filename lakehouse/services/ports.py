"""Loopback ports: a free one, whether one answers, and whose it is.

What listens there and how it is started does not belong here.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

_LOOPBACK = "127.0.0.1"
_LISTENING = "0A"
_SECONDS = 2.0


def free_port() -> int:
    """A port that nobody listens on now. Another process may take it before it is used: look again afterwards."""
    with socket.socket() as one:
        one.bind((_LOOPBACK, 0))
        return int(one.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now; one that was used a moment ago counts as free."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def answers(port: int, health: str | None = None) -> bool:
    """Whether something takes connections and, with a path `health`, answers 200 there."""
    if health is None:
        try:
            socket.create_connection((_LOOPBACK, port), timeout=_SECONDS).close()
        except OSError:
            return False
        return True
    import httpx  # noqa: PLC0415  (for this question alone)

    try:
        # A proxy of the environment has no business on loopback.
        answer = httpx.get(f"http://{_LOOPBACK}:{port}{health}", timeout=_SECONDS, trust_env=False)
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK


def listens(pid: int, port: int) -> bool:
    """Whether this very process listens on the port; True where the system does not tell (no /proc)."""
    proc = Path("/proc", str(pid))
    if not proc.exists():
        return not Path("/proc/self").exists()
    sockets = set()
    with suppress(OSError):
        for link in (proc / "fd").iterdir():
            with suppress(OSError):
                sockets.add(str(link.readlink()))
    return any(f"socket:[{inode}]" in sockets for inode in _listening(proc, port))


def _listening(proc: Path, port: int) -> list[str]:
    """The inodes of the sockets that listen on a port, whatever process has them (proc(5), /proc/net/tcp)."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.append(fields[9])
    return found
