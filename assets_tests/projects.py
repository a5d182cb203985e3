"""Small projects of their own for tests and benchmarks, written into a folder: contracts, models, and their settings.

What such a project is about belongs to whoever writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lakehouse.scaffold.project import new_project, write_project
from lakehouse.settings import Settings, load_settings

_HEAD = """\
apiVersion: v3.1.0
kind: DataContract
id: {domain}.{layer}.{name}
version: 1.0.0
status: active
description: {{purpose: {purpose}}}
team: {{members: [{{username: {domain}@example.com, role: owner}}]}}
schema:
  - name: {name}
    properties:
"""


def head(domain: str, layer: str, name: str, purpose: str) -> str:
    """A contract up to its first column; the columns are indented by six spaces."""
    return _HEAD.format(domain=domain, layer=layer, name=name, purpose=purpose)


def write(folder: Path, files: Mapping[str, str]) -> Settings:
    """A new project with these files besides, by their path in it.

    Its lake is a folder with SQLite, its source `landing` a folder `landing` of the state folder. Its models are not
    compiled yet.
    """
    write_project(new_project(folder))
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    state = folder / ".lakehouse"
    state.mkdir()
    catalog, landing = {"uri": f"sqlite:///{state}/catalog.db"}, {"kind": "files", "root": "landing", "settle": 0}
    return load_settings(folder, state=str(state), catalog=catalog, sources={"landing": landing})
