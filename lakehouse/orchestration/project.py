"""A project's definitions, and a project made ready to run: services up, folders made, models rendered and parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from lakehouse.contracts import read_tables
from lakehouse.orchestration import s3
from lakehouse.orchestration.bronze import bronze_assets, source_assets
from lakehouse.orchestration.changes import change_assets
from lakehouse.orchestration.home import prepare_home
from lakehouse.orchestration.model_graph import ModelGraph
from lakehouse.orchestration.models import model_assets
from lakehouse.orchestration.rejects import reject_jobs
from lakehouse.orchestration.triggers import jobs, schedules, sensors
from lakehouse.orchestration.upkeep_assets import upkeep_assets
from lakehouse.orchestration.upkeep_schedule import upkeep_schedules
from lakehouse.orchestration.upkeep_tables import upkeep_jobs
from lakehouse.settings import Profile, Settings

if TYPE_CHECKING:
    from lakehouse.contracts import Declarations


def definitions(settings: Settings) -> dg.Definitions:
    """The definitions of one project. Reads its contracts and its prebuilt dbt manifest, nothing else."""
    declarations = read_tables(settings.defs)
    graph = ModelGraph.read(settings, declarations)
    return dg.Definitions(
        assets=[
            *source_assets(settings, declarations),
            *change_assets(declarations),
            *bronze_assets(settings, declarations),
            *model_assets(settings, declarations),
            *upkeep_assets(settings, declarations),
        ],
        jobs=[*jobs(graph), *upkeep_jobs(declarations), *reject_jobs(settings, declarations)],
        schedules=[*schedules(graph), *upkeep_schedules(settings, declarations)],
        sensors=sensors(settings, graph),
        resources=s3.resources(settings),
        # On one machine a process a step costs more than the work of most steps.
        executor=dg.in_process_executor if settings.profile is Profile.EMBEDDED else dg.multiprocess_executor,
    )


def warm(settings: Settings) -> None:
    """Begin the imports of dbt and Great Expectations, for a command that will need both. Returns at once."""
    from lakehouse.quality.library import loading
    from lakehouse.transform.dbt_process import warm as warm_dbt

    warm_dbt(settings)
    loading()


def prepare(settings: Settings) -> Declarations:
    """Read the contracts, render and parse the models, start what the project's sources need. Returns the contracts."""
    from lakehouse.demo.services import ensure_services
    from lakehouse.orchestration.lineage import draw_pages

    prepare_home(settings)
    declarations = ready_models(settings)
    draw_pages(settings, declarations)
    ensure_services(settings)
    return declarations


def ready_models(settings: Settings) -> Declarations:
    """Render the contracts and parse the models, if anything changed. Returns the contracts."""
    from lakehouse.transform.project import parse

    declarations = read_tables(settings.defs)
    parse(settings)
    return declarations
