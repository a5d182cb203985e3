"""`embedded://` addresses, and all services of a project at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from pydantic import SecretStr

from lakehouse.errors import SettingsError, SourceUnreachable
from lakehouse.services import endpoints
from lakehouse.services.status import ServiceSpec
from lakehouse.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import http.server, pathlib, sys
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
pathlib.Path(sys.argv[2]).write_text(str(server.server_address[1]))
server.serve_forever()
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Settings]:
    settings = load_settings(ROOT, state=str(tmp_path / "state"))
    yield settings
    endpoints.stop_services(settings)
    endpoints.embedded_postgres(settings).remove()


@pytest.fixture
def outside(tmp_path: Path) -> Settings:
    """Settings of a project that runs nothing itself."""
    return load_settings(
        ROOT,
        state=str(tmp_path / "state"),
        catalog={"uri": "sqlite:///catalog.db"},
        sources={
            "shop": {"kind": "postgres", "url": "postgresql://db.example.com/shop"},
            "rates": {"kind": "http", "base_url": "https://rates.example.com/"},
        },
    )


@pytest.fixture
def spec(tmp_path: Path) -> ServiceSpec:
    (tmp_path / "serve.py").write_text(SERVE)
    return ServiceSpec("rates", (sys.executable, str(tmp_path / "serve.py")))


def test_embedded_catalog_is_a_database_that_sqlalchemy_reaches(embedded: Settings) -> None:
    engine = sqlalchemy.create_engine(endpoints.catalog_uri(embedded).get_secret_value())
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT current_database()")).scalar() == "lakehouse"
    engine.dispose()
    with psycopg.connect(
        endpoints.postgres_url(embedded, SecretStr("embedded://shop")).get_secret_value()
    ) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("shop",)


def test_addresses_that_are_not_ours_stay_as_they_are(outside: Settings) -> None:
    assert endpoints.catalog_uri(outside).get_secret_value() == "sqlite:///catalog.db"
    url = SecretStr("postgresql://user:secret@db.example.com/shop")
    assert endpoints.postgres_url(outside, url) is url
    assert endpoints.http_url(outside, "https://rates.example.com/v1/") == "https://rates.example.com/v1"


def test_project_that_needs_nothing_starts_nothing(outside: Settings) -> None:
    assert endpoints.start_services(outside) == ()
    assert not outside.state.exists()
    endpoints.stop_services(outside)
    assert endpoints.embedded_http_names(outside) == ()


def test_api_that_does_not_run_names_the_command_that_starts_it(outside: Settings) -> None:
    with pytest.raises(SourceUnreachable, match="lakehouse service up"):
        endpoints.http_url(outside, "embedded://rates")


@pytest.mark.parametrize("address", ["embedded://", "embedded:///"])
def test_address_without_a_name(outside: Settings, address: str) -> None:
    with pytest.raises(SettingsError, match="names nothing"):
        endpoints.http_url(outside, address)
    with pytest.raises(SettingsError, match="names nothing"):
        endpoints.postgres_url(outside, SecretStr(address))


def test_services_start_show_and_stop_together(embedded: Settings, spec: ServiceSpec) -> None:
    before = endpoints.services_status(embedded, ["rates"])
    assert [(one.name, one.running) for one in before] == [("postgres", False), ("rates", False)]
    started = endpoints.start_services(embedded, [spec])
    assert [(one.name, one.running) for one in started] == [("postgres", True), ("rates", True)]
    assert endpoints.start_services(embedded, [spec]) == started
    assert endpoints.http_url(embedded, "embedded://rates") == f"http://127.0.0.1:{started[1].port}"
    assert endpoints.embedded_http_names(embedded) == ("rates",)
    stopped = endpoints.stop_services(embedded, ["rates"])
    assert [(one.name, one.running) for one in stopped] == [("postgres", False), ("rates", False)]
    with pytest.raises(SourceUnreachable):
        endpoints.http_url(embedded, "embedded://rates")
