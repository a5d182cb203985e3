"""Which value is in force, what is refused and how that is said, and that secrets stay secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.environment import exported
from lakehouse.errors import SettingsError
from lakehouse.settings import (
    FilesSource,
    OwnSource,
    PostgresSource,
    Profile,
    Settings,
    find_project,
    load_settings,
    secrets_file,
)

PROJECT = """
[tool.lakehouse]
warehouse = "from-project"
[tool.lakehouse.ui]
port = 3001
[tool.lakehouse.sources.erp]
kind = "postgres"
url = "postgresql://erp@db/erp"
"""
PROFILE = """
[tool.lakehouse.profiles.embedded]
warehouse = "from-profile"
[tool.lakehouse.profiles.aws]
warehouse = "s3://bucket/warehouse"
"""

MakeProject = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("LAKEHOUSE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def make_project(tmp_path: Path) -> MakeProject:
    def make(*parts: str, secrets: str | None = None) -> Path:
        (tmp_path / "pyproject.toml").write_text("".join(parts))
        if secrets is not None:
            file = secrets_file(tmp_path / ".lakehouse")
            file.parent.mkdir(exist_ok=True)
            file.write_text(secrets)
        return tmp_path

    return make


def test_the_defaults_are_a_folder_and_a_server_of_ones_own(make_project: MakeProject) -> None:
    folder = make_project("[tool.lakehouse]\n")
    settings = load_settings(folder)

    assert settings.profile is Profile.EMBEDDED
    assert settings.state == folder / ".lakehouse"
    assert settings.warehouse == f"file://{folder}/.lakehouse/warehouse"
    assert settings.catalog.uri.get_secret_value() == "embedded://lakehouse"
    assert settings.dagster_home == folder / ".lakehouse" / "dagster"
    assert (settings.defs, settings.dbt) == ((folder / "defs",), (folder / "dbt",))
    assert settings.ui.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("parts", "secrets", "variable", "expected"),
    [
        (["[tool.lakehouse]\n"], None, None, "warehouse"),
        ([PROJECT], None, None, "from-project"),
        ([PROJECT, PROFILE], None, None, "from-profile"),
        ([PROJECT, PROFILE], 'warehouse = "from-secrets"', None, "from-secrets"),
        ([PROJECT, PROFILE], 'warehouse = "from-secrets"', "from-variable", "from-variable"),
        ([PROJECT, PROFILE], None, "", "from-profile"),
    ],
)
def test_the_environment_is_stronger_than_secrets_than_the_profile_than_the_project(
    request: pytest.FixtureRequest, parts: list[str], secrets: str | None, variable: str | None, expected: str
) -> None:
    if variable is not None:
        request.getfixturevalue("monkeypatch").setenv("LAKEHOUSE_WAREHOUSE", variable)
    settings = load_settings(request.getfixturevalue("make_project")(*parts, secrets=secrets))
    assert settings.warehouse == f"file://{settings.state}/{expected}"


def test_one_value_of_a_section_leaves_the_others_as_they_are(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_UI__HOST", "0.0.0.0")  # noqa: S104  (nobody listens)
    monkeypatch.setenv("LAKEHOUSE_SOURCES__ERP__URL", "postgresql://erp:secret@elsewhere/erp")
    settings = load_settings(make_project(PROJECT))

    assert (settings.ui.host, settings.ui.port) == ("0.0.0.0", 3001)  # noqa: S104
    source = settings.sources["erp"]
    assert isinstance(source, PostgresSource)
    assert source.url.get_secret_value() == "postgresql://erp:secret@elsewhere/erp"


def test_profile_local_has_servers_and_a_state_of_its_own(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_project("[tool.lakehouse]\n", PROFILE)
    monkeypatch.setenv("LAKEHOUSE_PROFILE", "local")
    local = load_settings(folder)
    assert (local.warehouse, local.s3.endpoint) == ("s3://lake/warehouse", "embedded://s3")
    assert local.catalog.uri.get_secret_value() == "embedded://lakehouse"
    assert local.dagster.storage is not None
    assert local.dagster.storage.get_secret_value() == "embedded://dagster"
    assert local.dagster.logs == "s3://lake/dagster/logs"
    # Beside the embedded profile's, and below it, so that `make clean` finds both.
    assert local.state == folder / ".lakehouse" / "local"
    monkeypatch.setenv("LAKEHOUSE_STATE", "elsewhere")
    assert load_settings(folder).state == folder / "elsewhere"


def test_the_shop_of_profile_local_is_delivered_into_its_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    roots = {}
    for profile in ("embedded", "local"):
        monkeypatch.setenv("LAKEHOUSE_PROFILE", profile)
        landing = load_settings(ROOT).sources["landing"]
        assert isinstance(landing, FilesSource)
        roots[profile] = landing.root
    assert roots == {"embedded": "landing", "local": "s3://lake/landing"}


AWS = {"warehouse": "s3://bucket/warehouse", "catalog": {"uri": "postgresql+psycopg://me@db/lake"}}


def test_profile_aws_has_no_endpoint_and_no_keys(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_PROFILE", "aws")
    aws = load_settings(make_project("[tool.lakehouse]\n", PROFILE), catalog=AWS["catalog"])
    assert aws.warehouse == "s3://bucket/warehouse"
    assert (aws.s3.endpoint, aws.s3.access_key, aws.s3.secret_key) == (None, None, None)
    assert (aws.dagster.storage, aws.dagster.logs) == (None, None)


@pytest.mark.parametrize(
    ("left", "name", "variable"),
    [("warehouse", "'warehouse'", "LAKEHOUSE_WAREHOUSE"), ("catalog", "'catalog.uri'", "LAKEHOUSE_CATALOG__URI")],
)
def test_profile_aws_needs_what_only_production_can_say(
    make_project: MakeProject, left: str, name: str, variable: str
) -> None:
    given = {key: value for key, value in AWS.items() if key != left}
    with pytest.raises(SettingsError, match=f"profile aws needs the setting {name}") as refused:
        load_settings(make_project("[tool.lakehouse]\n"), profile="aws", **given)
    assert variable in refused.value.remedy


def test_exported_variables_are_there_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN_FOR_A_TEST", "before")
    monkeypatch.delenv("FREE_FOR_A_TEST", raising=False)
    wanted = {"TAKEN_FOR_A_TEST": "now", "FREE_FOR_A_TEST": "too"}
    with exported(wanted):
        assert {name: os.environ[name] for name in wanted} == wanted
    assert os.environ["TAKEN_FOR_A_TEST"] == "before"
    assert "FREE_FOR_A_TEST" not in os.environ


def test_the_nearest_project_above_is_found(make_project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(PROJECT)
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    (folder / "a" / "pyproject.toml").write_text('[project]\nname = "no lakehouse"\n')
    assert find_project(below) == folder
    monkeypatch.chdir(below)
    assert load_settings().project == folder


def test_a_named_project_is_stronger_than_the_nearest(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, elsewhere = make_project(PROJECT), tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(SettingsError, match="no lakehouse project at or above") as refused:
        load_settings()
    assert "lakehouse new" in refused.value.remedy
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(folder))
    assert load_settings().project == folder


@pytest.mark.parametrize(
    ("text", "name", "variable"),
    [
        ("[tool.lakehouse]\nwarehose = 'x'\n", "'warehose'", "LAKEHOUSE_WAREHOSE"),
        ("[tool.lakehouse.ui]\nport = 99999\n", "'ui.port'", "LAKEHOUSE_UI__PORT"),
        ("[tool.lakehouse.ui]\nprt = 3000\n", "'ui.prt'", "LAKEHOUSE_UI__PRT"),
        ("[tool.lakehouse.sources.erp]\nkind = 'oracle'\n", "'sources.erp'", "LAKEHOUSE_SOURCES__ERP"),
        ("[tool.lakehouse.sources.erp]\nkind = 'my readers:Erp'\n", "'sources.erp.own.kind'", "LAKEHOUSE_SOURCES__ERP"),
        ("[tool.lakehouse.sources.erp]\nkind = 'postgres'\n", "'sources.erp.postgres.url'", "LAKEHOUSE_SOURCES__ERP"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_file_and_variable(
    make_project: MakeProject, text: str, name: str, variable: str
) -> None:
    folder = make_project(text)
    with pytest.raises(SettingsError) as refused:
        load_settings(folder)
    assert name in refused.value.what
    assert str(folder / "pyproject.toml") in refused.value.what
    assert variable in refused.value.remedy


def test_an_unknown_profile_is_refused_with_those_there_are(make_project: MakeProject) -> None:
    folder = make_project("[tool.lakehouse]\nprofile = 'gcp'\n")
    with pytest.raises(SettingsError, match="unknown profile 'gcp'") as refused:
        load_settings(folder)
    assert refused.value.expected == "one of embedded, local, aws"


def test_a_file_that_is_not_toml_is_named_with_its_line(make_project: MakeProject) -> None:
    folder = make_project("[tool.lakehouse]\n", "warehouse = \n")
    with pytest.raises(SettingsError, match=r"pyproject\.toml is not valid TOML: .*line 2"):
        load_settings(folder)


def test_secrets_that_are_not_toml_are_not_quoted(make_project: MakeProject) -> None:
    folder = make_project(PROJECT, secrets='[sources.erp]\nurl = "postgresql://erp:hunter2@db')
    with pytest.raises(SettingsError, match=r"secrets\.toml is not valid TOML") as refused:
        load_settings(folder)
    assert "hunter2" not in str(refused.value)


def test_a_state_folder_below_a_file_has_no_secrets_and_is_no_error_yet(make_project: MakeProject) -> None:
    folder = make_project(PROJECT)
    (folder / "file").write_text("")
    assert load_settings(folder, state="file/state").state == folder / "file" / "state"


def test_a_source_of_ones_own_has_options_and_secrets_from_the_environment(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_project(
        "[tool.lakehouse.sources.crm]\nkind = 'readers.crm:Crm'\noptions = {region = 'eu', pages = 3}\n",
        secrets="[sources.crm.secrets]\nuser = 'ada'\ntoken = 'old'\n",
    )
    monkeypatch.setenv("LAKEHOUSE_SOURCES__CRM__SECRETS__TOKEN", "12345")
    source = load_settings(folder).sources["crm"]
    assert isinstance(source, OwnSource)
    assert (source.kind, source.options) == ("readers.crm:Crm", {"region": "eu", "pages": 3})
    assert {key: secret.get_secret_value() for key, secret in source.secrets.items()} == {
        "user": "ada",
        "token": "12345",
    }


def test_an_unknown_kind_of_source_is_told_which_there_are(make_project: MakeProject) -> None:
    with pytest.raises(SettingsError, match=r"'postgres', 'files', 'http', or a reader as 'package\.module:Class'"):
        load_settings(make_project("[tool.lakehouse.sources.erp]\nkind = 'oracle'\n"))


PASSWORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=8, max_size=20)


@given(password=PASSWORDS)
def test_no_secret_is_shown(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    folder = tmp_path_factory.mktemp("secret")
    (folder / "pyproject.toml").write_text("[tool.lakehouse]\n")
    secret = f"s3cr-{password}"
    settings = load_settings(
        folder,
        catalog={"uri": f"postgresql://u:{secret}@db/lake"},
        s3={"secret_key": secret},
        dagster={"storage": f"postgresql://u:{secret}@db/dagster"},
        sources={
            "erp": {"kind": "postgres", "url": f"postgresql://u:{secret}@db/erp"},
            "api": {"kind": "http", "base_url": "https://api.example.com", "token": secret},
            "crm": {"kind": "readers.crm:Crm", "secrets": {"token": secret}},
        },
    )
    assert secret not in repr(settings) + str(settings) + str(settings.model_dump(mode="json"))
    assert secret not in settings.model_dump_json()


@given(password=PASSWORDS)
def test_no_secret_is_in_an_error(tmp_path_factory: pytest.TempPathFactory, password: str) -> None:
    folder = tmp_path_factory.mktemp("secret")
    (folder / "pyproject.toml").write_text("[tool.lakehouse]\n")
    secret = f"s3cr-{password}"
    with pytest.raises(SettingsError) as refused:
        load_settings(folder, s3={"secret_key": [secret]}, catalog={"uri": {"of": secret}})
    assert secret not in str(refused.value)
    assert refused.value.__cause__ is None, "pydantic's error holds the input"


def test_settings_do_not_change(make_project: MakeProject) -> None:
    settings = load_settings(make_project(PROJECT))
    with pytest.raises(ValueError, match="frozen"):
        settings.warehouse = "elsewhere"
    assert isinstance(settings, Settings)
