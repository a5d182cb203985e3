"""A project of one's own: a folder with settings, an empty place for contracts and models, and nothing of our code.

It names the package and its version, so that a team upgrades by a number. Macros and tests that all models share come
with the package.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from lakehouse.errors import SettingsError, StateError
from lakehouse.scaffold.candidate import table_word

_NAME = re.compile(r"[a-z][a-z0-9_]*")

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11,<3.14"
dependencies = ["lakehouse=={version}"]

# Settings, from here and the environment: `lakehouse settings show`.
[tool.lakehouse]
defs = ["defs"]
dbt = ["dbt"]
"""

_DBT_PROJECT = """\
# Before each parse the contracts are rendered to models/_generated, and what all projects share to macros/_generated.
name: {name}
version: "1.0.0"
config-version: 2
profile: lakehouse
model-paths: [models]
macro-paths: [macros]
test-paths: [tests]
flags:
  send_anonymous_usage_stats: false
  version_check: false
  use_colors: false
"""

_PROFILES = """\
# In memory: no file, hence no lock, and any number of runs side by side. The lake is attached by the plugin.
lakehouse:
  target: lake
  outputs:
    lake:
      type: duckdb
      path: ":memory:"
      threads: 2
      config_options: {allow_unsigned_extensions: true}  # the extensions of the installed wheels
      plugins:
        - {module: lakehouse.transform.dbt_plugin, alias: lake}
"""

_WORKSPACE = """\
load_from:
  - python_module:
      module_name: lakehouse.definitions
      location_name: {name}
"""

_IGNORED = """\
# State and secrets of the embedded profile.
.lakehouse/
.cache/
.venv/
# Rendered before each dbt parse.
dbt/models/_generated/
dbt/macros/_generated/
dbt/target/
dbt/logs/
dbt/.user.yml
__pycache__/
"""

_README = """\
# {name}

Bronze, silver and gold Iceberg tables, one file per table, made with `lakehouse`.

    defs/<domain>/<layer>/<table>.yaml     the contract of a table: columns, keys, rules, where it is loaded from
    dbt/models/<domain>/<layer>/<table>.sql    the SQL of a silver or gold table
    pyproject.toml                         settings: [tool.lakehouse]
    .lakehouse/                            state, tables and secrets on this machine; not in git

Tables from a database or from files, with contracts proposed from their data:

    lakehouse add postgresql://user:password@host/database --domain sales
    lakehouse add landing/payments.csv --domain sales

Silver and gold: a contract and one SQL file each, then

    lakehouse run silver.orders gold.revenue
    lakehouse query "select * from gold.revenue"
    lakehouse ui
"""


def new_project(folder: Path, name: str | None = None) -> Mapping[Path, str]:
    """The files of a project that would stand in a folder, by path; `name`: the folder's if None. Nothing is written.

    Raises SettingsError for a name that cannot be used, and for a folder that holds anything.
    """
    folder = folder.expanduser().absolute()
    called = table_word(folder.name) if name is None else name
    if not _NAME.fullmatch(called):
        raise SettingsError(
            f"a project cannot be called {called!r}",
            expected="a-z, 0-9 and _, a letter first",
            remedy="Choose another --name.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(
            f"{folder} is {'not empty' if folder.is_dir() else 'a file'}",
            expected="a new or empty folder",
            remedy="Choose another; to add tables to a project that is there, use `lakehouse add`.",
        )
    texts = {
        "pyproject.toml": _PYPROJECT.format(name=called.replace("_", "-"), version=version("lakehouse")),
        "workspace.yaml": _WORKSPACE.format(name=called),
        ".gitignore": _IGNORED,
        "README.md": _README.format(name=called),
        "defs/.gitkeep": "",
        "dbt/dbt_project.yml": _DBT_PROJECT.format(name=called),
        "dbt/profiles.yml": _PROFILES,
        "dbt/models/.gitkeep": "",
    }
    return {folder / path: text for path, text in texts.items()}


def write_project(files: Mapping[Path, str]) -> None:
    """Write them. Raises StateError when the folder cannot be written."""
    for path, text in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StateError(
                f"{path} cannot be written: {error.strerror}", remedy="Mend its permissions, or choose another folder."
            ) from error
