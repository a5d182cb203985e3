"""`lakehouse check` says which daily table reads something of which nobody has said what days it touches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assets_tests.projects import head
from lakehouse.scaffold.project import new_project, write_project

COLUMNS = """\
      - {{name: {key}, logicalType: integer, primaryKey: true, required: true, description: Number}}
      - {{name: day, logicalType: date, required: true, description: Day}}
customProperties:
"""
LOAD = "  - {property: load, value: {source: erp, table: public.things}}\n"
WINDOW = "  - {property: window, value: {column: day, start: 2026-01-01}}\n"
DAILY = f"{WINDOW}  - {{property: strategy, value: overwrite}}\n"
NOTES = "  - {property: follows, value: [{table: bronze.notes, days: all}]}\n"
OTHERS = "  - {property: follows, value: [{table: bronze.things, days: none}]}\n"
MODELS = {
    "silver/things": "select thing_id, day from {{ source('bronze', 'things') }}",
    "staging/stg_notes": "select note_id, day from {{ source('bronze', 'notes') }}",
    "gold/noted": "select thing_id, day from {{ ref('things') }} join {{ ref('stg_notes') }} using (day)",
}
TABLES = {"bronze.things": LOAD + WINDOW, "bronze.notes": LOAD, "silver.things": DAILY, "gold.noted": DAILY}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A daily gold table that reads notes through a view: they have days, and nobody says that these are the same."""
    folder = tmp_path_factory.mktemp("check") / "erp"
    write_project(new_project(folder))
    for name, custom in TABLES.items():
        layer, _, table = name.partition(".")
        file = folder / "defs" / "erp" / layer / f"{table}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        key = "note_id" if table == "notes" else "thing_id"
        file.write_text(head("erp", layer, table, "Things.") + COLUMNS.format(key=key) + custom)
    for name, sql in MODELS.items():
        file = folder / "dbt" / "models" / "erp" / f"{name}.sql"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(sql + "\n")
    return folder


def check(project: Path, tmp_path: Path, gold: str, *options: str) -> tuple[int, str]:
    """How it ends, and what it says, where the contract of gold ends so."""
    folder = tmp_path / "erp"
    shutil.copytree(project, folder)
    with (folder / "defs" / "erp" / "gold" / "noted.yaml").open("a") as file:
        file.write(gold)
    ended = subprocess.run(
        [Path(sys.executable).parent / "lakehouse", "check", *options],
        env={**os.environ, "LAKEHOUSE_PROJECT": str(folder), "LAKEHOUSE_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


def test_what_is_missing_and_what_is_too_much_are_findings(project: Path, tmp_path: Path) -> None:
    code, out = check(project, tmp_path, OTHERS)

    assert code == 1
    said, unstated, unread = out.splitlines()
    assert said == "4 contracts compile, and the models fit them."
    assert "gold.noted reads bronze.notes, and nothing says which of its days a change there touches" in unstated
    assert "{property: follows, value: [{table: bronze.notes, days: all}]}" in unstated
    assert "`follows` of gold.noted names bronze.things, which its model does not read" in unread
    assert all(f"{tmp_path}/erp/defs/erp/gold/noted.yaml: " in finding for finding in (unstated, unread))


def test_once_it_is_stated_all_is_well(project: Path, tmp_path: Path) -> None:
    code, out = check(project, tmp_path, NOTES, "--json")

    assert code == 0
    assert json.loads(out)["findings"] == []
