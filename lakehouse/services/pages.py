"""A small web server for the pages that the project makes (column lineage), so that the UI can link to them.

Read-only, loopback only. What a page shows belongs to whoever writes it into the folder.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lakehouse.services import process
from lakehouse.services.status import ServiceSpec
from lakehouse.settings import Settings

NAME = "pages"


def pages_folder(settings: Settings) -> Path:
    """Where pages are written."""
    return settings.state / "docs"


def pages_service(settings: Settings) -> ServiceSpec:
    """The service, beside the UI's port where that is free, so that links in old metadata go on working."""
    folder = pages_folder(settings)
    command = (sys.executable, "-m", __name__, "--folder", str(folder), "--port", str(settings.ui.port + 1))
    return ServiceSpec(NAME, command, folder=settings.project)


def page_url(settings: Settings, page: str) -> str | None:
    """The address of a page below the folder, or None while the service does not run."""
    found = process.status(settings.state / "services", NAME)
    return f"http://127.0.0.1:{found.port}/{page}" if found.running else None


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the signature is the standard library's)
        """Requests are not worth a line."""


def main() -> None:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="what to serve")
    parser.add_argument("--port", type=int, required=True, help="the port to listen on, if it is free")
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the port that it listens on")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    handler = partial(_Handler, directory=str(words.folder))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", words.port), handler)
    except OSError:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    fresh = words.port_file.with_name(f".{words.port_file.name}.new")
    fresh.write_text(str(server.server_port), encoding="ascii")
    fresh.replace(words.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
