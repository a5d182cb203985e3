"""A shop, the UI over it, and a browser that looks at it. The shop was never loaded, unless a module says otherwise."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from lakehouse.demo import open_shop
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
COMMAND = Path(sys.executable).with_name("lakehouse")
DAYS = 4
SCALE = 0.05
PATIENCE_SECONDS = 240
GLANCE_SECONDS = 60
VIEWPORT: ViewportSize = {"width": 1900, "height": 1100}
# One machine, no screen, no network: what Chromium does besides showing pages is switched off.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Look = Callable[[], AbstractContextManager[Page]]
Begin = Callable[[Settings, Mapping[str, str]], None]
"""What is done before the UI starts, with the settings and the environment that it will have."""


@dataclass(frozen=True)
class Ui:
    """The UI that runs, and the state it shows."""

    url: str
    settings: Settings
    log: Path

    @property
    def lake(self) -> Lake:
        return Lake.open(self.settings)

    @property
    def days(self) -> str:
        """The days that the shop has lived, as the UI's dialogs take them."""
        return f"[2026-01-01...2026-01-{DAYS:02}]"


@pytest.fixture(scope="session")
def chromium() -> str:
    found = shutil.which("chromium")
    if not found:
        reason = "the browser test needs Debian's chromium: apt-get install chromium"
        # A pipeline that lost its browser must say so; a newcomer's machine may go without.
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(reason)
    return found


@pytest.fixture(scope="module")
def clock() -> str:
    """When upkeep starts by itself: not while a shop is looked at, unless that is what is looked at."""
    return "0 0 1 1 *"


@pytest.fixture(scope="module")
def project() -> Path:
    """The project that is looked at: this one, unless its contracts are to be changed."""
    return ROOT


@pytest.fixture(scope="module")
def begin() -> Begin:
    """A shop lives for some days, and nothing of it is loaded."""

    def lived(settings: Settings, environment: Mapping[str, str]) -> None:
        assert environment
        open_shop(settings, scale=SCALE).advance(DAYS)

    return lived


@pytest.fixture(scope="module")
def ui(
    chromium: str, clock: str, project: Path, begin: Begin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ui]:
    assert chromium, "no UI is started for nobody to look at"
    state = tmp_path_factory.mktemp("ui")
    settings = load_settings(project, state=str(state))
    log = state / "ui.log"
    port = _free_port()
    # What starts by itself is looked at in `assets_tests/live`; here it would come between what is clicked.
    quiet = {"LAKEHOUSE_UPKEEP__SCHEDULE": clock, "LAKEHOUSE_AUTOMATION__ENABLED": "false"}
    environment = {**_environment(project, state, port), **quiet}
    try:
        begin(settings, environment)
        with _started(environment, log, f"http://127.0.0.1:{port}") as url:
            yield Ui(url, settings, log)
    finally:
        subprocess.run([COMMAND, "service", "down", "--remove"], env=environment, cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    expect.set_options(timeout=GLANCE_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def look(ui: Ui, browser: Browser) -> Look:
    """Opens a page of its own, with nothing remembered from another, and closes it."""

    @contextmanager
    def opened() -> Iterator[Page]:
        context = browser.new_context(base_url=ui.url, viewport=VIEWPORT)
        context.set_default_timeout(GLANCE_SECONDS * 1000)
        try:
            yield context.new_page()
        finally:
            context.close()

    return opened


@pytest.fixture
def page(look: Look) -> Iterator[Page]:
    with look() as page:
        yield page


@contextmanager
def _started(environment: Mapping[str, str], log: Path, url: str) -> Iterator[str]:
    """`lakehouse ui` in a process group of its own, ended as Ctrl-C in a terminal ends it."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [COMMAND, "ui"], env=environment, cwd=ROOT, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait(process, url, log)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        # Runs that were under way, and a Dagster that was started deaf to SIGINT.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/server_info").is_success:
                return
        time.sleep(0.2)
    pytest.fail(f"`lakehouse ui` does not answer:\n{log.read_text()}")


def _environment(project: Path, state: Path, port: int) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEHOUSE_", "DAGSTER_"))}
    return {
        **kept,
        "LAKEHOUSE_STATE": str(state),
        "LAKEHOUSE_PROJECT": str(project),
        "LAKEHOUSE_UI__PORT": str(port),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
