"""The services of the demo: what `lakehouse service up|status|down` starts, shows and stops."""

from __future__ import annotations

import sys

from pydantic import SecretStr

from lakehouse.demo.calendar import Scale
from lakehouse.demo.shop import Shop, stored_shop
from lakehouse.errors import SettingsError
from lakehouse.services import endpoints, pages
from lakehouse.services.status import ServiceSpec, Status
from lakehouse.settings import FilesSource, PostgresSource, Settings
from lakehouse.storage.open import open_store

_SHOP, _LANDING, _RATES = "shop", "landing", "rates"


def open_shop(settings: Settings, *, scale: float | None = None, seed: int | None = None) -> Shop:
    """The project's shop, made when it is not there yet.

    Without a scale or seed, those of the shop that is there, else 1 and 7. Raises SettingsError when there is a shop of
    another scale or seed, or when the settings have no source `shop`.
    """
    url = _shop_url(settings)
    found = stored_shop(url) or (7, Scale())
    source = settings.sources.get(_LANDING)
    landing = open_store(settings, source.root if isinstance(source, FilesSource) else _LANDING)
    shop = Shop(
        url,
        landing,
        found[0] if seed is None else seed,
        found[1] if scale is None else Scale().times(scale),
    )
    shop.create()
    return shop


def rates_service(settings: Settings) -> ServiceSpec:
    """The exchange-rate API. Starts PostgreSQL, for the address of the shop's database is what the API is told."""
    url = _shop_url(settings).get_secret_value()
    command = (sys.executable, "-m", "lakehouse.demo.api")
    return ServiceSpec(_RATES, command, stdin=SecretStr(url + "\n"), folder=settings.project)


def ensure_services(settings: Settings) -> tuple[Status, ...]:
    """Start what this project runs itself: PostgreSQL, its pages, and the rates where it names them. Idempotent."""
    wanted = _RATES in endpoints.embedded_http_names(settings) and _SHOP in settings.sources
    return endpoints.start_services(
        settings, [pages.pages_service(settings), *([rates_service(settings)] if wanted else [])]
    )


def services_status(settings: Settings) -> tuple[Status, ...]:
    """What runs and what does not; starts nothing."""
    return endpoints.services_status(settings, _names(settings))


def stop_services(settings: Settings) -> tuple[Status, ...]:
    """Stop everything. State stays."""
    return endpoints.stop_services(settings, _names(settings))


def _names(settings: Settings) -> tuple[str, ...]:
    return (pages.NAME, *endpoints.embedded_http_names(settings))


def _shop_url(settings: Settings) -> SecretStr:
    source = settings.sources.get(_SHOP)
    if not isinstance(source, PostgresSource):
        raise SettingsError(
            "the settings have no database for the shop",
            expected='[tool.lakehouse.sources.shop] with kind = "postgres" and url = "embedded://shop"',
            remedy="Add it to pyproject.toml.",
        )
    return endpoints.postgres_url(settings, source.url)
