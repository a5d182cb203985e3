"""Each mistake a user can make gives one clear error: the thing, the remedy, exit code 2, no trace, no secret."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

SECRET = "tiger-Lily-77"  # noqa: S105  (the one that must never be shown)
THINGS = ["anvil", "bell"]


def assert_one_clear_error(result: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 2, one error that says all of these, and neither a trace nor the secret anywhere."""
    everything = result.stdout + result.stderr
    assert result.returncode == 2, everything
    text = " ".join(result.stderr.split())
    assert text.count("error ") >= 1
    assert result.stderr.count("\nerror ") + result.stderr.startswith("error ") == 1, result.stderr
    for part in said:
        assert part in text, result.stderr
    assert "Traceback" not in everything
    assert SECRET not in everything


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_source_that_does_not_answer(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and it refuses everyone
        url = f"postgresql://erp:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/erp"
        result = project.run("run", "bronze.things", LAKEHOUSE_SOURCES__ERP__URL=url)

    assert_one_clear_error(result, "bronze.things", "source 'erp'", "does not answer", "Check that the server runs")
    assert project.things() == THINGS


def test_a_wrong_password(project: Project, url_with: Callable[[str], str]) -> None:
    result = project.run("run", "bronze.things", LAKEHOUSE_SOURCES__ERP__URL=url_with("tiger-Lily-78"))

    assert_one_clear_error(result, "source 'erp'", "refused access", "Check user, password and grants")
    assert "tiger-Lily" not in result.stdout + result.stderr
    assert project.things() == THINGS


def test_a_source_whose_address_is_no_address(project: Project) -> None:
    result = project.run("run", "bronze.things", LAKEHOUSE_SOURCES__ERP__URL=f"host=db password={SECRET} {SECRET}")
    assert_one_clear_error(result, "url of source 'erp' is not a PostgreSQL address", "Mend `url`")


def test_a_table_that_the_source_does_not_have(project: Project) -> None:
    replace(project.bronze, "public.things", "public.thingz")
    result = project.run("run", "bronze.things")
    assert_one_clear_error(result, "public.thingz", "things.yaml")
    assert project.things() == THINGS


def test_a_column_that_the_source_does_not_have(project: Project) -> None:
    replace(project.bronze, "{name: name,", "{name: naam,")
    replace(project.silver, "{name: name,", "{name: naam,")
    replace(project.model, "thing_id, name", "thing_id, naam")
    result = project.run("run", "bronze.things")
    assert_one_clear_error(result, "naam", "public.things")
    assert project.things() == THINGS


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_contract_that_does_not_parse(project: Project, command: str) -> None:
    replace(project.silver, "description: {purpose", "description: {{purpose")
    result = project.run(command, *(["silver.things"] if command == "run" else []))
    line = 1 + project.silver.read_text().splitlines().index("description: {{purpose: Things as they are stored.}")
    assert_one_clear_error(result, f"{project.silver}:{line}")
    assert project.things() == THINGS


def test_a_contract_that_means_nothing_is_told_to_dagster_too(project: Project) -> None:
    replace(project.bronze, "logicalType: string", "logicalType: strong")
    line = 1 + next(n for n, text in enumerate(project.bronze.read_text().splitlines()) if "strong" in text)

    result = project.run("check")
    assert_one_clear_error(result, f"{project.bronze}:{line}", "strong")
    loading = project.run(
        "definitions", "validate", "-m", "lakehouse.definitions", program="dagster", DAGSTER_HOME=str(project.state)
    )
    assert loading.returncode != 0
    assert f"{project.bronze}:{line}" in loading.stdout + loading.stderr


def test_two_contracts_for_one_table(project: Project) -> None:
    second = project.folder / "defs" / "crm" / "bronze" / "things.yaml"
    second.parent.mkdir(parents=True)
    second.write_text(project.bronze.read_text().replace("erp.bronze", "crm.bronze"))
    result = project.run("check")
    assert_one_clear_error(
        result, "a second contract for bronze.things", str(second), str(project.bronze), "Remove one"
    )


def test_a_contract_without_its_model(project: Project) -> None:
    project.model.unlink()
    result = project.run("check")
    assert_one_clear_error(result, "silver.things", "things.sql")


def test_an_unknown_profile(project: Project) -> None:
    result = project.run("settings", "show", LAKEHOUSE_PROFILE="embeded")
    assert_one_clear_error(result, "unknown profile 'embeded'", "embedded, local, aws", "LAKEHOUSE_PROFILE")


def test_no_project_at_all(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = project.environment()
    del environment["LAKEHOUSE_PROJECT"]
    lakehouse = ["env", "-C", str(empty), "-u", "LAKEHOUSE_PROJECT"]
    result = project.run("table", "list", before=lakehouse)
    assert_one_clear_error(result, "no lakehouse project", "lakehouse new DIR")


def test_a_state_folder_in_the_place_of_a_file(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    state = str(file / "state")
    catalog = f"sqlite:///{state}/catalog.db"
    result = project.run("run", "bronze.things", LAKEHOUSE_STATE=state, LAKEHOUSE_CATALOG__URI=catalog)
    assert_one_clear_error(result, state, "LAKEHOUSE_STATE")
    assert project.things() == THINGS


def mounted(folder: Path, options: str) -> Sequence[str]:
    """Words in front of a command that let it, and it alone, see a file system of its own in a folder."""
    folder.mkdir()
    alone = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    words = [*alone, "sh", "-c", f'mount -t tmpfs -o {options} tmpfs "$0" && exec "$@"', str(folder)]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk, and a full one cannot be had otherwise")
    return words


@pytest.mark.parametrize(("options", "said"), [("ro", "ead-only"), ("size=64k", "o space left on device")])
@pytest.mark.parametrize("command", [("run", "bronze.things"), ("check",)])
def test_a_state_folder_that_takes_nothing(
    project: Project, tmp_path: Path, options: str, said: str, command: Sequence[str]
) -> None:
    state = tmp_path / "small"
    before = mounted(state, options)
    catalog = f"sqlite:///{state}/catalog.db"
    result = project.run(*command, before=before, LAKEHOUSE_STATE=str(state), LAKEHOUSE_CATALOG__URI=catalog)
    assert_one_clear_error(result, str(state), said, "LAKEHOUSE_STATE")
    assert project.things() == THINGS


def test_a_disk_that_fills_while_rows_are_written(project: Project, tmp_path: Path) -> None:
    # The catalogue and all else have room; the warehouse's disk does not.
    warehouse = tmp_path / "warehouse"
    before = mounted(warehouse, "size=12k")
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    result = project.run(
        "run", "bronze.things", before=before, LAKEHOUSE_WAREHOUSE=str(warehouse), LAKEHOUSE_CATALOG__URI=catalog
    )
    assert_one_clear_error(result, "the disk is full", "Make room")
    assert project.things() == THINGS


def test_a_port_in_use(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = project.run("ui", LAKEHOUSE_UI__PORT=str(port))
    assert_one_clear_error(result, f"port {port} on 127.0.0.1 is in use", "LAKEHOUSE_UI__PORT")


def test_sql_that_fails_in_a_model(project: Project) -> None:
    replace(project.model, "thing_id, name", "thing_id,\n    upper(nonsense) as name")
    result = project.run("run", "silver.things")
    assert_one_clear_error(result, "silver/things.sql:2", "nonsense", "silver.things")
    assert project.things() == THINGS


def test_a_model_that_does_not_compile(project: Project) -> None:
    replace(project.model, "source('bronze', 'things')", "ref('nothing')")
    result = project.run("run", "silver.things")
    assert_one_clear_error(result, "nothing", "things.sql")
    assert project.things() == THINGS


def test_a_table_that_no_contract_declares(project: Project) -> None:
    result = project.run("run", "silver.thing")
    assert_one_clear_error(result, "no contract declares silver.thing", "Did you mean silver.things?")


def test_rows_that_break_the_contract_are_findings(project: Project) -> None:
    replace(
        project.silver,
        "{name: name, logicalType: string,",
        "{name: name, logicalType: string, unique: true, enum: [{value: anvil}],",
    )
    result = project.run("run", "silver.things")
    assert result.returncode == 1, result.stderr
    assert "main unchanged" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert project.things() == THINGS


def test_after_all_that_the_project_works_as_before(loaded: Project) -> None:
    result = loaded.run("run", "bronze.things", "silver.things")
    assert result.returncode == 0, result.stderr
    assert loaded.things() == THINGS
