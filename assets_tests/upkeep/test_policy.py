"""Where the limits come from: the settings, and for a table's size the table itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from lakehouse.errors import SettingsError, TableMissing
from lakehouse.iceberg import Lake
from lakehouse.settings import Settings, load_settings
from lakehouse.settings import Upkeep as UpkeepSettings
from lakehouse.tables import Table, TableName, Upkeep
from lakehouse.upkeep import Policy, policy_of


def test_the_size_is_the_tables_and_the_rest_the_settings(settings: Settings, lake: Lake, flat: Table) -> None:
    lake.create(replace(flat, upkeep=Upkeep(target_file_mb=3)))
    chosen = settings.model_copy(
        update={
            "upkeep": UpkeepSettings(orphan_age_hours=5, audits_kept_days=2, consumers_wait_days=4, min_files=9),
        }
    )
    assert policy_of(chosen, lake, flat.name) == Policy(
        target_bytes=3 * 2**20,
        min_files=9,
        orphan_age=timedelta(hours=5),
        audits_kept_for=timedelta(days=2),
        consumers_wait=timedelta(days=4),
    )


def test_a_contract_that_changes_changes_the_policy_with_the_next_write(
    settings: Settings, lake: Lake, flat: Table
) -> None:
    lake.create(flat)
    assert policy_of(settings, lake, flat.name).target_bytes == 128 * 2**20
    lake.create(replace(flat, upkeep=Upkeep(target_file_mb=16, keep_snapshots=timedelta(days=1))))
    assert policy_of(settings, lake, flat.name).target_bytes == 16 * 2**20


def test_a_table_that_is_not_there_has_no_policy(settings: Settings, lake: Lake) -> None:
    with pytest.raises(TableMissing):
        policy_of(settings, lake, TableName.parse("silver.nothing"))


def test_without_settings_tables_are_kept_up_at_night(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.lakehouse]\n", encoding="utf-8")
    found = load_settings(tmp_path).upkeep
    assert found == UpkeepSettings()
    assert found.schedule == "0 3 * * *"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("orphan_age_hours", 0),
        ("audits_kept_days", 0),
        ("memory_mb", 10),
        ("min_files", 1),
        ("consumers_wait_days", -1),
    ],
)
def test_settings_that_would_lose_something_are_refused(tmp_path: Path, key: str, value: int) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.lakehouse.upkeep]\n{key} = {value}\n", encoding="utf-8")
    with pytest.raises(SettingsError, match=f"upkeep.{key}"):
        load_settings(tmp_path)
