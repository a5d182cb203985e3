"""What a build is told by name: the project, its manifest, and the tables to build."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.errors import SettingsError, TransformError
from lakehouse.settings import Settings
from lakehouse.transform.folders import manifest_path
from lakehouse.transform.project import parse
from lakehouse.transform.run import selector


def test_without_a_dbt_project_the_setting_is_named(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="0 dbt projects"):
        parse(settings.model_copy(update={"dbt": (tmp_path,)}))


def test_without_a_manifest_the_command_is_named(project: Settings) -> None:
    with pytest.raises(TransformError, match="lakehouse check"):
        manifest_path(project)


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("silver.orders", "fqn:*.silver.orders"),
        ("staging.stg_orders", "fqn:*.staging.stg_orders"),
        ("+gold.fct_orders", "+fqn:*.gold.fct_orders"),
        ("2+silver.orders+1", "2+fqn:*.silver.orders+1"),
        ("tag:shop", "tag:shop"),
        ("path/silver.orders.sql", "path/silver.orders.sql"),
    ],
)
def test_tables_are_selected_by_their_names(text: str, selected: str) -> None:
    assert selector(text) == selected
