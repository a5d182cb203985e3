from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from pydantic import SecretStr

from lakehouse.contracts import read_tables
from lakehouse.errors import ContractError, SettingsError, StateError
from lakehouse.settings import Settings, find_project, load_settings

Command = Callable[[Sequence[str]], Result]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".lakehouse" not in path.parts
    }


@pytest.fixture
def sales(tmp_path: Path) -> Path:
    file = tmp_path / "in" / "sales.csv"
    file.parent.mkdir()
    file.write_text("id,amount\n1,2.50\n2,3.00\n")
    return file


def test_a_dry_run_prints_the_files_and_writes_nothing(command: Command, project: Settings, sales: Path) -> None:
    before = files_of(project.project)
    result = command(["add", str(sales), "--domain", "shop", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert files_of(project.project) == before
    assert "id: shop.bronze.sales" in result.output
    assert "from {{ source('bronze', 'sales') }}" in result.output
    shown = json.loads(command(["add", str(sales), "--domain", "shop", "--dry-run", "--json"]).stdout)
    assert [Path(path).name for path in shown["texts"]] == ["sales.yaml", "stg_sales.sql"]
    assert shown["written"] is False


def test_what_was_shown_is_what_is_written(command: Command, project: Settings, sales: Path) -> None:
    shown = json.loads(command(["add", str(sales), "--domain", "shop", "--dry-run", "--json"]).stdout)
    result = command(["add", str(sales), "--domain", "shop", "--no-run", "--json", "--owner", "team:shop"])
    assert result.exit_code == 0, result.output
    assert {path: Path(path).read_text() for path in shown["texts"]} == shown["texts"]
    assert json.loads(result.stdout)["proposed"][0]["primary_key"] == ["id"]
    assert [str(name) for name in read_tables(load_settings(project.project).defs)] == ["bronze.sales"]


def test_a_contract_that_is_there_stays_and_the_others_are_added(
    command: Command, project: Settings, sales: Path
) -> None:
    command(["add", str(sales), "--domain", "shop", "--no-run"])
    contract = project.defs[0] / "shop" / "bronze" / "sales.yaml"
    contract.write_text(contract.read_text() + "# mine\n")
    sales.with_name("returns.csv").write_text("id\n1\n")
    result = command(["add", str(sales.parent), "--domain", "shop", "--no-run"])
    assert result.exit_code == 0, result.output
    assert "bronze.sales has a contract already" in result.output
    assert contract.read_text().endswith("# mine\n")
    assert (contract.parent / "returns.yaml").is_file()


def test_a_table_of_another_domain_keeps_its_name_unless_there_is_a_prefix(
    command: Command, project: Settings, sales: Path
) -> None:
    command(["add", str(sales), "--domain", "shop", "--no-run"])
    result = command(["add", str(sales), "--domain", "erp", "--no-run", "--json"])
    assert list(json.loads(result.stdout)["kept"]) == ["bronze.sales"]
    assert command(["add", str(sales), "--domain", "erp", "--prefix", "erp_", "--no-run"]).exit_code == 0
    assert (project.defs[0] / "erp" / "bronze" / "erp_sales.yaml").is_file()


def test_a_table_that_is_left_out_ends_with_1(command: Command, project: Settings, database: SecretStr) -> None:
    with psycopg.connect(database.get_secret_value(), autocommit=True) as connection:
        connection.execute("create table codes (code text)")
    before = files_of(project.project)
    result = command(["add", database.get_secret_value(), "--domain", "shop", "--no-run"])
    assert (result.exit_code, files_of(project.project)) == (1, before)
    assert "no primary key" in result.output


@pytest.mark.parametrize("word", ["Shop", "1a", "a-b"])
def test_a_domain_is_a_word(command: Command, sales: Path, project: Settings, word: str) -> None:
    result = command(["add", str(sales), "--domain", word])
    assert isinstance(result.exception, SettingsError)
    assert not (project.defs[0] / word).exists()


def test_nothing_is_written_while_the_projects_contracts_do_not_compile(
    command: Command, sales: Path, project: Settings
) -> None:
    broken = project.defs[0] / "shop" / "silver" / "x.yaml"
    broken.parent.mkdir(parents=True)
    broken.write_text("kind: nothing\n")
    before = files_of(project.project)
    result = command(["add", str(sales), "--domain", "shop"])
    assert isinstance(result.exception, ContractError)
    assert files_of(project.project) == before


def test_a_new_project_is_one(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "Flight Data"
    result = command(["new", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    named = [str(Path(path).relative_to(folder)) for path in json.loads(result.stdout)["files"]]
    assert sorted(files_of(folder)) == sorted(named)
    assert find_project(folder / "dbt") == folder
    settings = load_settings(folder)
    assert (settings.defs, settings.dbt) == ((folder / "defs",), (folder / "dbt",))
    assert dict(read_tables(settings.defs)) == {}
    assert "name: flight_data" in (folder / "dbt" / "dbt_project.yml").read_text()
    assert ".lakehouse/" in (folder / ".gitignore").read_text().splitlines()


def test_a_folder_that_holds_anything_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / ".git").mkdir()
    for target, found in ((tmp_path / "full", "not empty"), (tmp_path / "file", "a file")):
        if not target.exists():
            target.write_text("x")
        result = command(["new", str(target)])
        assert isinstance(result.exception, SettingsError)
        assert found in str(result.exception)
    assert files_of(tmp_path) == {"file": b"x"}


def test_a_project_that_cannot_be_made_says_so(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = command(["new", str(tmp_path / "file" / "below")])
    assert isinstance(result.exception, StateError)
    assert isinstance(command(["new", str(tmp_path / "a"), "--name", "A B"]).exception, SettingsError)


def test_a_dry_new_writes_nothing(command: Command, tmp_path: Path) -> None:
    assert command(["new", str(tmp_path / "a"), "--dry-run"]).exit_code == 0
    assert not (tmp_path / "a").exists()
