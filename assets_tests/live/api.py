"""What a running Dagster says over its GraphQL API: runs, backfills, sensors and asset events, and that it is at rest.

Nothing here reads the lake's tables or our logs: what a test asserts of Dagster, a person can see in its pages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import httpx
import pytest

from assets_tests.live import queries

PATIENCE_SECONDS = 600
# How often a state is looked at that is waited for; each look has a deadline.
_LOOK_SECONDS = 0.3
# A sensor that ticks more seldom watches over something else than this data.
_SLOW_SECONDS = 30
_UNFINISHED_RUN = {"QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING"}
_UNFINISHED_BACKFILL = {"REQUESTED", "CANCELING", "FAILING"}
# What the kind of an automation condition sensor is called.
AUTOMATION = "AUTO_MATERIALIZE"


@dataclass(frozen=True)
class Run:
    """A run: its assets as `silver.orders`, the days of its partition or range, and the backfill it is part of."""

    id: str
    status: str
    assets: frozenset[str]
    days: tuple[date, ...]
    backfill: str | None
    ended: float | None

    @property
    def unfinished(self) -> bool:
        return self.status in _UNFINISHED_RUN


@dataclass(frozen=True)
class Backfill:
    """A backfill as its page shows it: the days asked for of each asset, and its runs."""

    id: str
    status: str
    days: Mapping[str, tuple[date, ...]]
    ended: float | None

    @property
    def unfinished(self) -> bool:
        return self.status in _UNFINISHED_BACKFILL


@dataclass(frozen=True)
class Sensor:
    """A sensor that is switched on, and when its newest finished tick began; 0 when there was none."""

    name: str
    kind: str
    every: float
    ticked: float
    failed: str | None


class Dagster:
    """The GraphQL API at an address."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/graphql"

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The one field that a query asks for. Fails the test for an error that GraphQL or the field answers."""
        answer = httpx.post(self._url, json={"query": query, "variables": variables}, timeout=60).json()
        assert "errors" not in answer, answer["errors"]
        found: dict[str, Any]
        [found] = answer["data"].values()
        assert "message" not in found, found
        return found

    def runs(self, since: float) -> list[Run]:
        """Runs that were made after a time, the oldest first."""
        return [_run(one) for one in reversed(self.ask(queries.RUNS, after=since)["results"])]

    def backfills(self, since: float) -> list[Backfill]:
        """Backfills that were asked for after a time, the oldest first."""
        return [self._backfill(one) for one in reversed(self.ask(queries.BACKFILLS, after=since)["results"])]

    def runs_of(self, asset: str, since: float) -> list[Run]:
        """Of the runs since a time, those that make a table."""
        return [run for run in self.runs(since) if asset in run.assets]

    def events(self, asset: str, since: float) -> list[tuple[date, dict[str, str]]]:
        """The materializations of a daily asset since a time: day and metadata, the oldest first."""
        found = self.ask(queries.EVENTS, key={"path": asset.split("/")})["assetMaterializations"]
        return [
            (date.fromisoformat(one["partition"]), {entry["label"]: _text(entry) for entry in one["metadataEntries"]})
            for one in reversed(found)
            if float(one["timestamp"]) / 1000 > since and one["partition"]
        ]

    def sensors(self) -> dict[str, Sensor]:
        """The sensors that are switched on."""
        listed = self.ask(queries.SENSORS)["results"]
        on = [one["name"] for one in listed if one["sensorState"]["status"] == "RUNNING"]
        return {name: _sensor(self.ask(queries.SENSOR, selector=_selector(name))) for name in on}

    def cursor(self, sensor: str) -> str | None:
        """A sensor's cursor."""
        state = self.ask(queries.CURSOR, selector=_selector(sensor))["sensorState"]
        return (state["typeSpecificData"] or {}).get("lastCursor")

    def set_cursor(self, sensor: str, cursor: str | None) -> None:
        """Put a cursor in the place of a sensor's own; None: none, as for one that was never evaluated."""
        self.ask(queries.SET_CURSOR, selector=_selector(sensor), cursor=cursor)

    def switch(self, sensor: str, *, on: bool) -> None:
        """Switch a sensor on or off, as its switch on the Automation page does."""
        if on:
            self.ask(queries.START, selector=_selector(sensor))
        else:
            self.ask(queries.STOP, id=self.ask(queries.CURSOR, selector=_selector(sensor))["id"])

    def launch(self, *assets: str) -> str:
        """A run of these assets and no others, as the button Materialize asks for it; its id."""
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "lakehouse",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": asset.split("/")} for asset in assets],
        }
        return str(self.ask(queries.LAUNCH, selector=selector)["run"]["runId"])

    def at_rest(self, since: float) -> bool:
        """Whether all that was asked for since a time is done, and each sensor has looked after that and asked nothing.

        Automation looks at what the other sensors report, so it must have looked after them.
        """
        sensors = self.sensors().values()
        work: list[Run | Backfill] = [*self.runs(since), *self.backfills(since)]
        if any(one.unfinished for one in work):
            return False
        last = max([since, *(one.ended for one in work if one.ended is not None)])
        quick = [one for one in sensors if one.every <= _SLOW_SECONDS]
        looked = [one.ticked for one in quick if one.kind != AUTOMATION]
        automation = [one.ticked for one in quick if one.kind == AUTOMATION]
        return bool(looked and automation) and min(looked) > last and min(automation) > max(looked)

    def _backfill(self, one: Mapping[str, Any]) -> Backfill:
        assert one["isAssetBackfill"], f"a backfill of assets was asked for, not {one}"
        days = {}
        for key in one["assetSelection"]:
            asked = self.ask(queries.BACKFILL_DAYS, id=one["id"], key={"path": key["path"]})
            days[".".join(key["path"])] = _target(asked["partitionsTargetedForAssetKey"])
        return Backfill(one["id"], one["status"], days, one["endTimestamp"])


def wait_until(true: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again; fail the test when the deadline passes first."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"in {seconds:.0f} s it did not happen that {what}")
        time.sleep(_LOOK_SECONDS)


def _run(one: Mapping[str, Any]) -> Run:
    tags = {tag["key"]: tag["value"] for tag in one["tags"]}
    first = tags.get("dagster/partition", tags.get("dagster/asset_partition_range_start"))
    last = tags.get("dagster/partition", tags.get("dagster/asset_partition_range_end"))
    return Run(
        id=one["runId"],
        status=one["status"],
        assets=frozenset(".".join(key["path"]) for key in one["assetSelection"] or ()),
        days=_days(first, last) if first and last else (),
        backfill=tags.get("dagster/backfill"),
        ended=one["endTime"],
    )


def _target(found: Mapping[str, Any] | None) -> tuple[date, ...]:
    if found is None:
        return ()
    keys = tuple(date.fromisoformat(key) for key in found["partitionKeys"] or ())
    return keys + tuple(day for span in found["ranges"] or () for day in _days(span["start"], span["end"]))


def _days(first: str, last: str) -> tuple[date, ...]:
    start = date.fromisoformat(first)
    return tuple(start + timedelta(days=day) for day in range((date.fromisoformat(last) - start).days + 1))


def _sensor(one: Mapping[str, Any]) -> Sensor:
    finished = [tick for tick in one["sensorState"]["ticks"] if tick["status"] != "STARTED"]
    newest = finished[0] if finished else None
    failed = newest["error"]["message"] if newest and newest["error"] else None
    ticked = float(newest["timestamp"]) if newest else 0.0
    return Sensor(one["name"], one["sensorType"], float(one["minIntervalSeconds"]), ticked, failed)


def _selector(sensor: str) -> dict[str, str]:
    return {"repositoryName": "__repository__", "repositoryLocationName": "lakehouse", "sensorName": sensor}


def _text(entry: Mapping[str, Any]) -> str:
    found = next((value for name, value in entry.items() if name.startswith("value") and value is not None), "")
    return str(found)
