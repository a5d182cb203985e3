"""What is configured. No other package reads settings from the environment (`environment.py` lends variables).

What can be set is `sections.py`; where values come from, and which of them is in force, is `project.py`. What a value
is used for does not belong here.
"""

from lakehouse.settings.project import Profile, Settings, find_project, load_settings, secrets_file
from lakehouse.settings.sections import (
    S3,
    Automation,
    Catalog,
    Dagster,
    FilesSource,
    HttpSource,
    Loads,
    OwnSource,
    PostgresSource,
    Quality,
    Source,
    Transform,
    Ui,
    Upkeep,
)

__all__ = [
    "S3",
    "Automation",
    "Catalog",
    "Dagster",
    "FilesSource",
    "HttpSource",
    "Loads",
    "OwnSource",
    "PostgresSource",
    "Profile",
    "Quality",
    "Settings",
    "Source",
    "Transform",
    "Ui",
    "Upkeep",
    "find_project",
    "load_settings",
    "secrets_file",
]
