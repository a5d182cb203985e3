from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from lakehouse.errors import SettingsError
from lakehouse.scaffold.connection import Connection, check_name, project_text, save, without_password
from lakehouse.settings import FilesSource, PostgresSource, Settings, load_settings, secrets_file

MARK = "p%40ss:w0rd"


def postgres(url: str = f"postgresql://me:{MARK}@db:5432/shop?sslmode=require", name: str = "shop") -> Connection:
    return Connection(name, PostgresSource(url=SecretStr(url)))


def url_of(settings: Settings, name: str) -> str:
    source = settings.sources[name]
    assert isinstance(source, PostgresSource)
    return source.url.get_secret_value()


@pytest.mark.parametrize(
    ("url", "public"),
    [
        (f"postgresql://me:{MARK}@db:5432/shop", "postgresql://me@db:5432/shop"),
        ("postgres://me@db/shop", "postgres://me@db/shop"),
        ("postgresql://me:@db/shop", "postgresql://me@db/shop"),
        ("postgresql://me@/shop?host=%2Ftmp%2Fs&password=x", "postgresql://me@/shop?host=/tmp/s"),
        ("postgresql://me@/shop?host=%2Ftmp%2Fs", "postgresql://me@/shop?host=%2Ftmp%2Fs"),
        ("postgresql://db/shop?sslpassword=x&sslmode=require", "postgresql://db/shop?sslmode=require"),
    ],
)
def test_an_address_without_its_password(url: str, public: str) -> None:
    assert without_password(url) == public
    assert (postgres(url).secret is None) == (url == public)


@given(st.text("abcXYZ019-_.~%", min_size=1, max_size=12).filter(lambda text: "%" not in text))
def test_no_password_is_left(password: str) -> None:
    marked = f"#{password}#".replace("#", "Q7")
    assert marked not in without_password(f"postgresql://me:{marked}@db/shop?password={marked}&sslmode=require")


def test_the_password_goes_to_a_file_of_its_owner_and_nowhere_else(project: Settings) -> None:
    save(project, postgres())
    file = secrets_file(project.state)
    assert MARK in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    others = [path for path in project.project.rglob("*") if path.is_file() and path != file]
    assert [path for path in others if MARK.encode() in path.read_bytes()] == []
    settings = load_settings(project.project)
    assert url_of(settings, "shop") == f"postgresql://me:{MARK}@db:5432/shop?sslmode=require"
    assert MARK not in repr(settings)


def test_a_second_secret_stands_beside_the_first(project: Settings) -> None:
    save(project, postgres(name="one"))
    save(load_settings(project.project), postgres("postgresql://you:two@db/b", name="two"))
    settings = load_settings(project.project)
    assert (url_of(settings, "one").count(MARK), url_of(settings, "two")) == (1, "postgresql://you:two@db/b")


def test_the_environment_is_stronger_than_the_secrets_file(project: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    save(project, postgres())
    monkeypatch.setenv("LAKEHOUSE_SOURCES__SHOP__URL", "postgresql://other@db/shop")
    assert url_of(load_settings(project.project), "shop") == "postgresql://other@db/shop"


def test_settings_stay_whole_when_the_secrets_are_gone(project: Settings) -> None:
    save(project, postgres())
    secrets_file(project.state).unlink()
    assert url_of(load_settings(project.project), "shop") == "postgresql://me@db:5432/shop?sslmode=require"


def test_a_secrets_file_that_is_no_toml_is_named_without_its_text(project: Settings) -> None:
    secrets_file(project.state).write_text(f'[sources.shop]\nurl = "{MARK}\n')
    with pytest.raises(SettingsError, match=r"secrets\.toml") as broken:
        load_settings(project.project)
    assert MARK not in str(broken.value)


@pytest.mark.parametrize(
    "text",
    [
        "[tool.lakehouse]\n",
        '[project]\nname = "x"\n\n[tool.lakehouse]\ndefs = ["defs"]\n\n[tool.ruff]\nline-length = 120\n',
        '[tool.lakehouse]\n[tool.lakehouse.sources.a]\nkind = "files"\nroot = "x"\n# end\n[tool.mypy]\nstrict = true',
        "[tool.lakehouse]\nwarehouse = 'w'\n[[tool.mypy.overrides]]\nmodule = 'x'\n",
    ],
)
def test_a_source_is_added_to_pyproject_and_nothing_else_changes(text: str) -> None:
    changed = project_text(text, postgres())
    assert set(text.splitlines()) <= set(changed.splitlines())
    after, before = tomllib.loads(changed), tomllib.loads(text)
    added = after["tool"]["lakehouse"]["sources"].pop("shop")
    assert added == {"kind": "postgres", "url": "postgresql://me@db:5432/shop?sslmode=require"}
    before["tool"]["lakehouse"].setdefault("sources", {})
    assert after == before


@pytest.mark.parametrize("text", ["", "[tool]\nlakehouse = {}\n", "[tool.lakehouse]\nsources = {}\n"])
def test_a_pyproject_of_another_form_is_left_alone_with_what_to_add(text: str) -> None:
    with pytest.raises(SettingsError, match=r"tool\.lakehouse\.sources\.shop") as refused:
        project_text(text, postgres())
    assert MARK not in str(refused.value)


def test_a_folder_with_odd_characters_is_written_as_it_is(project: Settings, tmp_path: Path) -> None:
    odd = Connection("odd", FilesSource(root=str(tmp_path / 'a "quoted" \\ földer')))
    save(project, odd)
    assert load_settings(project.project).sources["odd"] == odd.source


def test_a_known_connection_is_used_again_and_a_taken_name_refused(project: Settings) -> None:
    save(project, postgres())
    settings = load_settings(project.project)
    assert check_name(settings, postgres())
    assert check_name(settings, postgres("postgresql://me:changed@db:5432/shop?sslmode=require"))
    assert not check_name(settings, postgres(name="other"))
    for taken in (postgres("postgresql://me@elsewhere/shop"), Connection("shop", FilesSource(root="x"))):
        with pytest.raises(SettingsError, match="--name"):
            check_name(settings, taken)
