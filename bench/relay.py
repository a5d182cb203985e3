"""A loopback port that leads to a unix socket, for peers that know no unix sockets. It only passes bytes on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

_BLOCK = 2**16


@contextmanager
def relay(path: Path) -> Iterator[int]:
    """The port, while the context lasts."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(str(path))
                back = threading.Thread(target=_pass_on, args=(server, self.request), daemon=True)
                back.start()
                _pass_on(self.request, server)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield int(listening.server_address[1])
        finally:
            listening.shutdown()


def _pass_on(of: socket.socket, to: socket.socket) -> None:
    """Until one of the two ends."""
    with suppress(OSError):
        while block := of.recv(_BLOCK):
            to.sendall(block)
    with suppress(OSError):
        to.shutdown(socket.SHUT_WR)
