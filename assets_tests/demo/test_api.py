"""The exchange-rate API over real HTTP, in this process and as a service of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.demo import Scale, open_shop
from lakehouse.demo.api import RatesServer
from lakehouse.demo.calendar import FIRST_DAY, day_of
from lakehouse.demo.rates import rates
from lakehouse.demo.services import ensure_services, services_status, stop_services
from lakehouse.errors import SettingsError
from lakehouse.services.endpoints import embedded_postgres, http_url
from lakehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from conftest import Month

    NewShop = Callable[..., Month]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def serve() -> Iterator[Callable[[SecretStr], httpx.Client]]:
    opened: list[tuple[RatesServer, threading.Thread, httpx.Client]] = []

    def start(url: SecretStr) -> httpx.Client:
        server = RatesServer(url)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        opened.append((server, thread, httpx.Client(base_url=f"http://127.0.0.1:{server.port}")))
        return opened[-1][2]

    yield start
    for server, thread, client in opened:
        client.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def api(month: Month, serve: Callable[[SecretStr], httpx.Client]) -> httpx.Client:
    return serve(month.url)


def _all(client: httpx.Client, **params: str) -> tuple[list[dict[str, str]], list[int]]:
    """Every rate, by following pages and trying again; and the answers' codes."""
    found: list[dict[str, str]] = []
    codes: list[int] = []
    page: int | None = 1
    while page is not None:
        answer = client.get("/rates", params={**params, "page": str(page)})
        codes.append(answer.status_code)
        assert len(codes) < 100
        if answer.status_code == 200:
            found += answer.json()["rates"]
            assert len(answer.json()["rates"]) <= 40
            page = answer.json()["next_page"]
    return found, codes


def _expected(until: date, since: date = FIRST_DAY) -> list[dict[str, Any]]:
    return [
        {"date": str(rate.date), "currency": rate.currency, "rate_to_eur": str(rate.rate_to_eur)}
        for rate in rates(7, since, until)
    ]


def test_pages_together_are_every_rate_up_to_today(api: httpx.Client) -> None:
    found, codes = _all(api)
    assert found == _expected(day_of(30))
    assert codes == [200, 200, 429, 200]


def test_rates_are_what_the_truth_says(api: httpx.Client, month: Month) -> None:
    truth = month.ask("SELECT date::text, currency, rate_to_eur FROM truth.rates ORDER BY 1, 2")
    found, _ = _all(api)
    assert [(rate["date"], rate["currency"], float(rate["rate_to_eur"])) for rate in found] == [
        (day, currency, float(rate)) for day, currency, rate in truth
    ]


@pytest.mark.parametrize(
    ("since", "days"), [("2026-01-30", 1), ("2026-01-31", 0), ("2026-01-21", 10), ("2020-01-01", 30)]
)
def test_since_is_included(api: httpx.Client, since: str, days: int) -> None:
    found, _ = _all(api, since=since)
    assert len(found) == 4 * days
    assert all(rate["date"] >= since for rate in found)


def test_refusals_alternate_and_another_attempt_succeeds(new_shop: NewShop, serve: Callable[..., httpx.Client]) -> None:
    small = new_shop(factor=0.001)
    small.shop.create()
    small.shop.advance(65)
    client = serve(small.url)
    found, codes = _all(client)
    assert found == _expected(day_of(65))
    assert codes == [200, 200, 429, 200, 200, 200, 503, 200, 200]
    refused = client.get("/rates", params={"page": "3"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "0")


def test_new_days_show_at_once(new_shop: NewShop, serve: Callable[..., httpx.Client]) -> None:
    small = new_shop(factor=0.001)
    client = serve(small.url)
    assert client.get("/rates").json() == {"rates": [], "next_page": None}
    small.shop.create()
    assert client.get("/rates").json() == {"rates": [], "next_page": None}
    small.shop.advance(2)
    assert client.get("/rates").json()["rates"] == _expected(day_of(2))
    small.shop.advance(1)
    assert client.get("/rates", params={"since": "2026-01-03"}).json()["rates"] == _expected(day_of(3), day_of(3))


@pytest.mark.parametrize(
    ("path", "code"),
    [("/rates?since=yesterday", 400), ("/rates?page=two", 400), ("/rates?page=0", 400), ("/", 404), ("/rates/1", 404)],
)
def test_questions_that_cannot_be_answered(api: httpx.Client, path: str, code: int) -> None:
    answer = api.get(path)
    assert answer.status_code == code
    assert answer.json()["error"]


def test_page_behind_the_last_is_empty(api: httpx.Client) -> None:
    assert api.get("/rates", params={"page": "100"}).json() == {"rates": [], "next_page": None}


def test_database_that_is_away_is_a_passing_trouble(serve: Callable[..., httpx.Client]) -> None:
    answer = serve(SecretStr("postgresql://someone:hidden@127.0.0.1:1/shop")).get("/rates")
    assert answer.status_code == 503
    assert "hidden" not in answer.text


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Settings]:
    settings = load_settings(ROOT, state=str(tmp_path / "state"))
    yield settings
    stop_services(settings)
    embedded_postgres(settings).remove()


def test_the_project_runs_its_own_shop(embedded: Settings) -> None:
    names = ["postgres", "pages", "rates"]
    assert [(one.name, one.running) for one in services_status(embedded)] == [(name, False) for name in names]
    started = ensure_services(embedded)
    assert [(one.name, one.running) for one in started] == [(name, True) for name in names]
    assert ensure_services(embedded) == started
    shop = open_shop(embedded, scale=0.01, seed=7)
    shop.advance(2)
    assert open_shop(embedded).scale == Scale().times(0.01)
    assert open_shop(embedded).day == 2
    with pytest.raises(SettingsError, match="another shop"):
        open_shop(embedded, scale=1.0)
    assert (embedded.state / "landing" / "payments" / "payments-2026-01-02.jsonl").is_file()
    answer = httpx.get(http_url(embedded, "embedded://rates") + "/rates")
    assert answer.json()["rates"] == _expected(day_of(2))

    stopped = stop_services(embedded)
    assert [(one.name, one.running) for one in stopped] == [(name, False) for name in names]
    ensure_services(embedded)
    assert open_shop(embedded).day == 2
    assert httpx.get(http_url(embedded, "embedded://rates") + "/rates").json()["rates"] == _expected(day_of(2))


def test_address_of_the_database_is_in_no_list_of_processes(embedded: Settings) -> None:
    rates_status = ensure_services(embedded)[1]
    words = Path(f"/proc/{rates_status.pid}/cmdline")
    if words.exists():
        assert "postgresql" not in words.read_text()
    assert "postgresql://" not in json.dumps([path.read_text() for path in (embedded.state / "services").iterdir()])


def test_shop_needs_a_source_that_is_a_database(tmp_path: Path) -> None:
    settings = load_settings(ROOT, state=str(tmp_path)).model_copy(update={"sources": {}})
    with pytest.raises(SettingsError, match=r"tool\.lakehouse\.sources\.shop"):
        open_shop(settings)


def test_time_of_the_shop_is_a_function_of_its_database(month: Month) -> None:
    with psycopg.connect(month.url.get_secret_value()) as connection:
        connection.execute("SET TIME ZONE 'Asia/Tokyo'")
        row = connection.execute("SELECT extract(epoch FROM shop_now())::bigint").fetchone()
    assert row == (1769817599,)
