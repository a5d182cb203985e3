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

pytestmark = pytest.mark.services  # minutes: each mistake is made in a process of its own

SECRET = "tiger-Lily-77"  # noqa: S105  (the one that must never be shown)
THINGS = ["anvil", "bell"]


def assert_one_clear_error(result: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 2, one error that says all of these, and neither a trace nor the secret anywhere."""
    (error,) = errors_of(result)
    for part in said:
        assert part in error, result.stderr


def errors_of(result: subprocess.CompletedProcess[str]) -> list[str]:
    everything = result.stdout + result.stderr
    assert result.returncode == 2, everything
    assert "Traceback" not in everything
    assert SECRET not in everything
    return [" ".join(error.split()) for error in f"\n{result.stderr}".split("\nerror ")[1:]]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def line_of(path: Path, part: str) -> int:
    return 1 + next(number for number, text in enumerate(path.read_text().splitlines()) if part in text)


def add_bronze(project: Project, name: str, source: str, old: str = "things", new: str = "things") -> Path:
    """One more bronze table, like `things` but for a name, its source, and a part that is replaced."""
    text = (
        project.bronze.read_text()
        .replace("bronze.things", f"bronze.{name}")
        .replace("- name: things", f"- name: {name}")
    )
    path = project.bronze.with_name(f"{name}.yaml")
    path.write_text(text.replace("source: erp", f"source: {source}").replace(old, new))
    return path


def test_sources_that_cannot_be_read(project: Project, url_with: Callable[[str], str]) -> None:
    with socket.socket() as taken, (project.folder / "pyproject.toml").open("a") as settings:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and it refuses everyone
        gone = f"postgresql://erp:{SECRET}@127.0.0.1:{taken.getsockname()[1]}/erp"
        for name, url in (
            ("gone", gone),
            ("locked", url_with(SECRET.replace("7", "8"))),
            ("odd", f"host=x {SECRET} y"),
        ):
            settings.write(f'\n[tool.lakehouse.sources.{name}]\nkind = "postgres"\nurl = "{url}"\n')
        settings.write('\n[tool.lakehouse.sources.nowhere]\nkind = "files"\nroot = "nowhere"\n')
        settings.flush()
        add_bronze(project, "of_gone", "gone")
        add_bronze(project, "of_gone_too", "gone")
        add_bronze(project, "of_locked", "locked")
        add_bronze(project, "of_odd", "odd")
        add_bronze(project, "of_nowhere", "nowhere", "table: public.things, watermark: updated_at", "files: '*.csv'")
        add_bronze(project, "of_nobody", "nobody")
        no_table = add_bronze(project, "no_table", "erp", "public.things", "public.thingz")
        no_column = add_bronze(project, "no_column", "erp", "{name: thing_id,", "{name: thing_no,")
        names = ("of_gone", "of_gone_too", "of_locked", "of_odd", "of_nowhere", "of_nobody", "no_table", "no_column")
        result = project.run("run", "bronze.things", *(f"bronze.{name}" for name in names))

    errors = {error.partition(":")[0]: error for error in errors_of(result)}
    # One server that does not answer is one error, however many tables wait for it.
    assert "does not answer" in errors.pop("bronze.of_gone, bronze.of_gone_too")
    expected = {
        "bronze.of_locked": (
            "source 'locked'",
            "refused access",
            "password authentication failed",
            "Check user, password",
        ),
        "bronze.of_odd": ("url of source 'odd' is not a PostgreSQL address", "Mend `url`"),
        "bronze.of_nowhere": ("there is no folder", "/nowhere", "Create it, or mend the source's `root`"),
        "bronze.of_nobody": ("nobody", "erp, gone, locked"),
        "bronze.no_table": ("public.thingz", str(no_table)),
        "bronze.no_column": ("thing_no", "public.things", str(no_column)),
    }
    assert set(errors) == set(expected)
    for table, parts in expected.items():
        for part in parts:
            assert part in errors[table], errors[table]
    assert SECRET.replace("7", "8") not in result.stdout + result.stderr
    # What is well is loaded beside them.
    assert "bronze.things" in result.stdout
    assert project.things() == THINGS


def test_a_contract_that_is_not_yaml(project: Project) -> None:
    replace(project.silver, "description: {purpose: Things", "description: {purpose: [Things")
    # The parser sees on the next line that the bracket was not closed.
    line = line_of(project.silver, "[Things")
    result = project.run("check")
    assert_one_clear_error(result, f"{project.silver}:", "invalid YAML", "Mend the YAML")
    assert any(f"{project.silver}:{number}:" in result.stderr for number in (line, line + 1))
    assert project.things() == THINGS


def test_a_contract_that_means_nothing_is_told_to_dagster_too(project: Project) -> None:
    replace(project.bronze, "logicalType: string", "logicalType: strong")
    where = f"{project.bronze}:{line_of(project.bronze, 'strong')}:"

    assert_one_clear_error(project.run("check"), where, "strong")
    loading = project.run(
        "definitions", "validate", "-m", "lakehouse.definitions", program="dagster", DAGSTER_HOME=str(project.state)
    )
    assert loading.returncode != 0
    assert where in loading.stdout + loading.stderr


def test_two_contracts_for_one_table(project: Project) -> None:
    second = project.folder / "defs" / "crm" / "bronze" / "things.yaml"
    second.parent.mkdir(parents=True)
    second.write_text(project.bronze.read_text().replace("erp.bronze", "crm.bronze"))
    result = project.run("check")
    both = (str(second), str(project.bronze))
    assert_one_clear_error(result, "a second contract for bronze.things", *both, "Remove one")


def test_a_contract_without_its_model(project: Project) -> None:
    project.model.unlink()
    assert_one_clear_error(project.run("check"), "silver.things", "things.sql")


def test_an_unknown_profile(project: Project) -> None:
    result = project.run("settings", "show", LAKEHOUSE_PROFILE="embeded")
    assert_one_clear_error(result, "unknown profile 'embeded'", "embedded, local, aws", "LAKEHOUSE_PROFILE")


def test_no_project_at_all(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    result = project.run("table", "list", before=["env", "-C", str(empty), "-u", "LAKEHOUSE_PROJECT"])
    assert_one_clear_error(result, "no lakehouse project", "lakehouse new DIR")


@pytest.mark.parametrize("command", [("table", "list"), ("check",)])
def test_a_file_in_the_place_of_the_state_folder(project: Project, tmp_path: Path, command: Sequence[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    state = str(file / "state")
    result = project.run(*command, LAKEHOUSE_STATE=state, LAKEHOUSE_CATALOG__URI="embedded://lakehouse")
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


@pytest.mark.parametrize(
    ("options", "said", "command"),
    [
        ("ro", "Read-only file system", ("run", "bronze.things")),
        ("ro", "Read-only file system", ("check",)),
        ("size=64k", "No space left on device", ("check",)),
        ("size=64k", "No space left on device", ("demo",)),
    ],
)
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
    result = project.run("check")
    assert_one_clear_error(result, "nothing", "things.sql")
    assert project.things() == THINGS


def test_a_table_that_no_contract_declares(project: Project) -> None:
    result = project.run("run", "silver.thing")
    assert_one_clear_error(result, "no contract declares silver.thing", "Did you mean silver.things?")


def test_after_all_that_the_project_works_as_before(loaded: Project) -> None:
    result = loaded.run("run", "silver.things")
    assert result.returncode == 0, result.stderr
    assert loaded.things() == THINGS
