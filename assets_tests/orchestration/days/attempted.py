"""A job that says which run it is an attempt at; a module of its own, for Dagster loads it by its name."""

# No postponed annotations here: Dagster reads the annotation of `context` and knows the class only, not its name.

import dagster as dg

from lakehouse.orchestration.models import first_attempt


@dg.asset
def probe(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Says it."""
    return dg.MaterializeResult(metadata={"first": first_attempt(context)})


def job() -> dg.JobDefinition:
    """The job."""
    found = dg.define_asset_job("probing", selection=[probe])
    return dg.Definitions(assets=[probe], jobs=[found], executor=dg.in_process_executor).resolve_job_def("probing")
