"""The project's definitions, made ready in a state folder of their own: nothing is started for them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from lakehouse.contracts import Declarations
from lakehouse.orchestration.project import definitions, ready_models
from lakehouse.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the shop whose models are compiled; no service runs."""
    settings = load_settings(ROOT, state=str(tmp_path_factory.mktemp("orchestration")))
    ready_models(settings)
    return settings


@pytest.fixture(scope="session")
def declarations(ready: Settings) -> Declarations:
    return ready_models(ready)


@pytest.fixture(scope="session")
def defs(ready: Settings) -> dg.Definitions:
    return definitions(ready)


@pytest.fixture(scope="session")
def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {".".join(spec.key.path): spec for spec in defs.resolve_all_asset_specs()}
