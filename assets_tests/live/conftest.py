"""A shop of twelve days, loaded, and the UI over it with its daemon; and a browser that looks at it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from assets_tests.live.api import Dagster, wait_until
from assets_tests.live.oracle import differing_days, found
from assets_tests.live.server import Server
from assets_tests.live.sources import Sources
from lakehouse.iceberg import Lake
from lakehouse.settings import Profile, Settings, load_settings
from lakehouse.tables import TableName

ROOT = Path(__file__).parents[2]
DAYS = 12
SMALL = ("--scale", "0.05", "--days", str(DAYS))
NEVER = "0 0 1 1 *"
GLANCE_SECONDS = 60
VIEWPORT: ViewportSize = {"width": 1500, "height": 620}
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


@dataclass(frozen=True)
class Live:
    """A running project: what happens outside, what Dagster says, and what readers of the lake see."""

    settings: Settings
    server: Server
    dagster: Dagster
    sources: Sources

    def repaired(self, since: float) -> None:
        """Wait until silver and gold say what the sources say, and Dagster has nothing left to do."""
        wait_until(lambda: self.dagster.at_rest(since) and not self.wrong_days(), "gold says what the sources say")

    def rested(self, since: float) -> None:
        """Wait until Dagster has looked at everything since a time, and has nothing left to do."""
        wait_until(lambda: self.dagster.at_rest(since), "Dagster has looked and comes to rest")

    def wrong_days(self) -> list[str]:
        """The days of which silver or gold does not say what the sources say."""
        return sorted(map(str, differing_days(found(self.settings), self.sources.truth())))

    def files(self, table: str) -> dict[str, frozenset[str]]:
        """The data files of each day of a table, by the folder of the day."""
        by_day: dict[str, set[str]] = {}
        for file in Lake.open(self.settings).table(TableName.parse(table)).live_files():
            by_day.setdefault(file.partition.rpartition("=")[2], set()).add(file.path)
        return {day: frozenset(paths) for day, paths in by_day.items()}


def running(state: Path, profile: Profile) -> Iterator[Live]:
    """Upkeep starts only where a test asks for it: what it moves is what a test of repairs looks at."""
    settings = load_settings(ROOT, state=str(state), profile=profile)
    server = Server(ROOT, state, LAKEHOUSE_UPKEEP__SCHEDULE=NEVER, LAKEHOUSE_PROFILE=profile.value)
    try:
        if profile is Profile.LOCAL:
            server.run("service", "up")
        server.run("demo", *SMALL)
        begun = time.time()
        server.start()
        made = Live(settings, server, Dagster(server.url), Sources(settings))
        made.repaired(begun)
        yield made
    finally:
        server.stop()
        server.run("service", "down", "--remove")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The shop of the embedded profile."""
    yield from running(tmp_path_factory.mktemp("live"), Profile.EMBEDDED)


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The shop of profile local: tables and landing zone on MinIO, catalog and Dagster's runs in PostgreSQL."""
    yield from running(tmp_path_factory.mktemp("on_s3"), Profile.LOCAL)


@pytest.fixture
def page(live: Live) -> Iterator[Page]:
    """A browser's page on the UI, with nothing remembered from another."""
    chromium = shutil.which("chromium")
    if chromium is None:
        # A pipeline that lost its browser must say so; a newcomer's machine may go without.
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop("this test needs Debian's chromium: apt-get install chromium")
    expect.set_options(timeout=GLANCE_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        context = browser.new_context(base_url=live.server.url, viewport=VIEWPORT)
        context.set_default_timeout(GLANCE_SECONDS * 1000)
        yield context.new_page()
        browser.close()
