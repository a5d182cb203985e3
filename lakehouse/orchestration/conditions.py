"""When a table asks for itself: the project's automation conditions by name, and the sensor that evaluates them.

What makes a day ask is decided in `changes.py`, which tells it to Dagster as events; how a day is built is `build.py`.
"""

from __future__ import annotations

from typing import Any

import dagster as dg

CHANGES = "changes"
"""First part of the keys of external assets that tell which days of a table are out of date."""

ASKED_BY = "lakehouse/asked_by"
"""Tag of the runs and backfills that were asked for here."""

LOOK_SECONDS = 3
"""How often Dagster may tick a sensor of ours. It looks every 5 s; a clock of 5 would miss every other look."""

# Dagster types its conditions for tables and checks alike, and takes one of tables only.
_Condition = dg.AutomationCondition[Any]

_UPDATED: _Condition = dg.AutomationCondition.newly_updated()
_REQUESTED: _Condition = dg.AutomationCondition.newly_requested()
_IN_PROGRESS: _Condition = dg.AutomationCondition.in_progress()

HANDLED: _Condition = (_REQUESTED | _UPDATED).with_label("asked for, or built")
"""Whoever asked, or built it. Whether it then follows its inputs is for `changes.py` to see again."""

WITH_PARENT: _Condition = dg.AutomationCondition.any_deps_match(
    dg.AutomationCondition.will_be_requested(),
).with_label("a table that it reads is asked for")
"""A table above it is asked for in this very evaluation, for the same day: then both are one run."""


def inputs_changed(told_by: dg.AssetKey) -> _Condition:
    """An event on the external asset `told_by` says that the inputs of this day changed, and nobody has asked since."""
    told = dg.AutomationCondition.any_deps_match(_UPDATED).allow(dg.AssetSelection.assets(told_by))
    return told.since(HANDLED).with_label("its inputs changed")


def days_changed(told_by: dg.AssetKey) -> _Condition:
    """Of a daily table: ask for a day once its inputs changed, and along with the same day of a table that it reads.

    Each change is asked for once: a day that fails is left alone until something changes again. A day that is being
    built waits until it is done. At the first look nothing is asked for, nor are days that were never built.
    """
    return ((inputs_changed(told_by) | WITH_PARENT) & ~_IN_PROGRESS).with_label("days whose inputs changed")


def sensor_status(*, enabled: bool) -> dg.DefaultSensorStatus:
    """How a sensor of ours stands as long as nobody has switched it in the UI. `enabled`: `automation.enabled`."""
    return dg.DefaultSensorStatus.RUNNING if enabled else dg.DefaultSensorStatus.STOPPED


def repairs(*, enabled: bool, tables: dg.AssetSelection) -> dg.AutomationConditionSensorDefinition:
    """The sensor `repairs`: it asks for what `days_changed` holds for; two days or more as one backfill, one as a run.

    `tables`: the daily tables.
    """
    return dg.AutomationConditionSensorDefinition(
        "repairs",
        target=tables,
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=sensor_status(enabled=enabled),
        run_tags={ASKED_BY: "repairs"},
        description="Builds the days of daily tables whose inputs changed: late rows, corrections, restores.",
    )
