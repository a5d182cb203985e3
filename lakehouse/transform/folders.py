"""Where a project's models, and what dbt leaves behind, are found.

Imports nothing heavy, for the definitions that Dagster loads ask here. Making what is missing is `project.py`.
"""

from __future__ import annotations

from pathlib import Path

from lakehouse.errors import SettingsError, TransformError
from lakehouse.settings import Settings


def dbt_folder(settings: Settings) -> Path:
    """The folder of the project's `dbt_project.yml`. Raises SettingsError when there is none, or more than one."""
    found = [folder for folder in settings.dbt if (folder / "dbt_project.yml").is_file()]
    if len(found) != 1:
        raise SettingsError(
            f"{len(found)} dbt projects among {', '.join(str(folder) for folder in settings.dbt) or 'no folders'}",
            expected="one folder with a dbt_project.yml",
            remedy="Set `dbt` in [tool.lakehouse]; models of several teams are folders of one project.",
        )
    return found[0]


def work_folder(settings: Settings) -> Path:
    """Where dbt's output lies: never in the project, which may be read-only and is shared by every run."""
    return settings.state / "dbt"


def manifest_path(settings: Settings) -> Path:
    """The manifest that the last `parse` left. Runs nothing. Raises TransformError when there is none yet."""
    manifest = manifest_file(settings)
    if not manifest.is_file():
        raise TransformError(
            f"the models of {dbt_folder(settings)} are not compiled yet",
            expected=f"a manifest at {manifest}",
            remedy="Run `lakehouse check` (`lakehouse demo` and `lakehouse ui` do it too).",
        )
    return manifest


def manifest_file(settings: Settings) -> Path:
    """Where the manifest is, or will be."""
    return work_folder(settings) / "target" / "manifest.json"
