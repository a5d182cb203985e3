"""The settings of a project as a whole, and how they are read.

Values come, strongest first, from the environment (`LAKEHOUSE_...`, `__` between levels), from `secrets.toml` in the
state folder (in the form of `[tool.lakehouse]`, without that prefix; `lakehouse add` writes it, for its owner only),
from the profile's table `[tool.lakehouse.profiles.<profile>]` and from `[tool.lakehouse]` of the project's
`pyproject.toml`, and from the profile's defaults below. What a section holds is `sections.py`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from lakehouse.errors import SettingsError
from lakehouse.settings.sections import S3, Automation, Catalog, Dagster, Loads, Quality, Source, Transform, Ui, Upkeep

_STATE = ".lakehouse"


class Profile(StrEnum):
    """Where the lake lives: in a folder, on local servers, or on AWS."""

    EMBEDDED = "embedded"
    LOCAL = "local"
    AWS = "aws"


_PROFILE_DEFAULTS: Mapping[Profile, Mapping[str, Any]] = {
    Profile.EMBEDDED: {},
    # A state folder of its own: a catalog, a shop or a DAGSTER_HOME knows one warehouse and one landing folder.
    Profile.LOCAL: {
        "state": f"{_STATE}/local",
        "warehouse": "s3://lake/warehouse",
        "s3": {"endpoint": "embedded://s3"},
        "dagster": {"storage": "embedded://dagster", "logs": "s3://lake/dagster/logs"},
    },
    Profile.AWS: {},
}


class Settings(BaseSettings):
    """Everything in force for one project and profile. Frozen; made by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="LAKEHOUSE_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    profile: Profile = Profile.EMBEDDED
    project: Path
    state: Path = Path(_STATE)
    defs: tuple[Path, ...] = (Path("defs"),)
    dbt: tuple[Path, ...] = (Path("dbt"),)
    warehouse: str = "warehouse"
    catalog: Catalog = Catalog()
    s3: S3 = S3()
    dagster: Dagster = Dagster()
    sources: dict[str, Source] = Field(default_factory=dict)
    loads: Loads = Loads()
    quality: Quality = Quality()
    transform: Transform = Transform()
    upkeep: Upkeep = Upkeep()
    automation: Automation = Automation()
    ui: Ui = Ui()
    json_logs: bool = False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the signature is pydantic-settings')
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment is stronger than the project's file, which reaches us as init values."""
        return (env_settings, init_settings)

    def model_post_init(self, _context: object) -> None:
        """Make every folder absolute: runs are started from many working directories."""
        fix = object.__setattr__
        fix(self, "project", self.project.absolute())
        fix(self, "state", self.project / self.state)
        fix(self, "defs", tuple(self.project / path for path in self.defs))
        fix(self, "dbt", tuple(self.project / path for path in self.dbt))
        if "://" not in self.warehouse:
            fix(self, "warehouse", (self.state / self.warehouse).as_uri())

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME: `dagster.yaml`, and what it does not put elsewhere."""
        return self.state / "dagster"


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` whose `pyproject.toml` has a section `[tool.lakehouse]`."""
    for folder in (start, *start.parents):
        if _project_section(folder / "pyproject.toml") is not None:
            return folder
    raise SettingsError(
        f"no lakehouse project at or above {start}",
        expected="a pyproject.toml with a section [tool.lakehouse]",
        remedy="Change into a project, set LAKEHOUSE_PROJECT, or make one with `lakehouse new DIR`.",
    )


def load_settings(project: Path | None = None, **overrides: Any) -> Settings:  # noqa: ANN401  (any setting's type)
    """Read the settings of a project (default: LAKEHOUSE_PROJECT, else the nearest one above the working directory).

    Profile aws needs a warehouse on S3 and a catalog. Raises SettingsError that names the setting, what it must be, and
    where to set it.
    """
    named = os.environ.get("LAKEHOUSE_PROJECT")
    folder = project or (Path(named) if named else find_project(Path.cwd()))
    section = _project_section(folder / "pyproject.toml") or {}
    profiles = section.pop("profiles", {})
    profile = _profile(os.environ.get("LAKEHOUSE_PROFILE") or overrides.get("profile") or section.get("profile"))
    values = _merge(_PROFILE_DEFAULTS[profile], section)
    values = _merge(values, profiles.get(profile.value, {}))
    values = _merge(values, _secrets(folder, overrides.get("state") or values.get("state")))
    values = _merge(values, overrides)
    try:
        settings = Settings(**{**values, "project": folder, "profile": profile})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting {name!r} of {folder / 'pyproject.toml'} or the environment cannot be used",
            expected=first["msg"],
            remedy="Mend it in [tool.lakehouse] or in the variable LAKEHOUSE_" + name.upper().replace(".", "__") + ".",
        ) from None
    if profile is Profile.AWS:
        _require_shared(settings)
    return settings


def _require_shared(settings: Settings) -> None:
    """In production nothing may be on one machine only because nobody named it."""
    if not settings.warehouse.startswith(("s3://", "s3a://", "s3n://")):
        raise _not_shared("warehouse", "s3://bucket/prefix", settings.warehouse)
    if settings.catalog.uri.get_secret_value().startswith("embedded://"):
        raise _not_shared("catalog.uri", "postgresql+psycopg://user@host/database", "none")


def _not_shared(name: str, expected: str, found: str) -> SettingsError:
    return SettingsError(
        f"profile aws needs the setting {name!r}",
        expected=expected,
        found=found,
        remedy="Set it in [tool.lakehouse.profiles.aws] or in LAKEHOUSE_" + name.upper().replace(".", "__") + ".",
    )


def secrets_file(state: Path) -> Path:
    """Where the secrets of a project on this machine stand. It may be missing."""
    return state / "secrets.toml"


def _secrets(project: Path, state: str | Path | None) -> dict[str, Any]:
    return _toml(secrets_file(project / (os.environ.get("LAKEHOUSE_STATE") or state or _STATE)))


def _profile(name: str | Profile | None) -> Profile:
    try:
        return Profile(name or Profile.EMBEDDED)
    except ValueError:
        raise SettingsError(
            f"unknown profile {name!r}",
            expected=f"one of {', '.join(Profile)}",
            remedy="Set LAKEHOUSE_PROFILE, or `profile` in [tool.lakehouse], to one of them.",
        ) from None


def _project_section(file: Path) -> dict[str, Any] | None:
    section = _toml(file).get("tool", {}).get("lakehouse")
    return dict(section) if section is not None else None


def _toml(file: Path) -> dict[str, Any]:
    """What a file says; nothing where there is none."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SettingsError(f"{file} cannot be read", found=error.strerror, remedy="Mend its permissions.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The error names a line and column, never the text there.
        raise SettingsError(f"{file} is not valid TOML: {error}", remedy="Mend the file.") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {key for key, value in over.items() if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)}
    return {**base, **over, **{key: _merge(base[key], over[key]) for key in both}}
